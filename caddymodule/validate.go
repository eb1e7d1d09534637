package caddymodule

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var channelName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate checks what the types do not.
func (h *Handler) Validate() error {
	if err := errors.Join(checkName(h.Name), checkAddress(h.Address)); err != nil {
		return err
	}
	for _, o := range h.Origins {
		if err := checkOrigin(o); err != nil {
			return err
		}
	}
	for name, c := range map[string]struct {
		found   string
		allowed []string
	}{
		"durability":    {h.Durability, []string{"", "default", "strict"}},
		"titles":        {h.Titles, []string{"", "question", "model"}},
		"on_disconnect": {h.disconnectPolicy(), []string{"finish", "cancel"}},
	} {
		if !slices.Contains(c.allowed, c.found) {
			return fmt.Errorf("%s: expected one of %s, found %q", name, strings.Join(c.allowed, " "), c.found)
		}
	}
	for name, n := range map[string]int64{
		"max_message_size": h.MaxMessageSize, "max_pending": int64(h.MaxPending),
		"ping_interval": int64(h.PingInterval), "write_timeout": int64(h.WriteTimeout), "context": int64(h.Context), "max_question_length": int64(h.MaxQuestionLength), "max_messages": int64(h.MaxMessages),
		"retention": int64(h.Retention), "drain_timeout": int64(h.DrainTimeout), "resume_window": int64(h.ResumeWindow),
	} {
		if n < 0 {
			return fmt.Errorf("%s: expected a positive value, found %d", name, n)
		}
	}
	return h.checkLimits()
}

func checkName(name string) error {
	if !channelName.MatchString(name) {
		return fmt.Errorf("name: expected letters, digits and underscores, found %q", name)
	}
	return nil
}

func checkAddress(address string) error {
	if !strings.HasPrefix(address, "/") {
		return fmt.Errorf("address: expected a path with a leading slash, found %q", address)
	}
	return nil
}

func (h *Handler) disconnectPolicy() string {
	if h.OnDisconnect == nil {
		return "finish"
	}
	return h.OnDisconnect.Policy
}

// maxUser is the longest name of a user, in bytes: it is kept in memory, by stores and in the log.
const maxUser = 1024

// checkUser refuses what a placeholder may stand for and nobody is called; stores could not keep all of it.
func checkUser(user string) error {
	if len(user) > maxUser || !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl) {
		return fmt.Errorf("user: expected UTF-8 of at most %d bytes without control characters, found others", maxUser)
	}
	return nil
}

func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if origin != "*" && (err != nil || u.Scheme == "" || u.Host == "" || origin != u.Scheme+"://"+u.Host) {
		return fmt.Errorf("origins: expected * or an origin like https://example.com, found %q", origin)
	}
	return nil
}
