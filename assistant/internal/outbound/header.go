// Package outbound is what the sources of tools share when they ask a server over HTTP: which headers may be set, how
// long and how much is waited for, and what is kept out of errors.
package outbound

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// token matches the name of a header (RFC 9110 section 5.6.2).
var token = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

// own are the headers that belong to a request's form. With Idempotency-Key net/http would send a request again.
var own = []string{
	"Host", "Content-Length", "Transfer-Encoding", "Connection", "Te", "Trailer", "Upgrade", "Accept-Encoding",
	"Idempotency-Key", "X-Idempotency-Key",
}

// CheckHeader checks the header of a configuration: none may be named twice, or as taken says. It repeats no value.
func CheckHeader(header map[string]string, taken ...string) error {
	taken = slices.Concat(own, taken)
	seen := map[string]bool{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(header)) {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !token.MatchString(name):
			errs = append(errs, fmt.Errorf("header: expected a name of letters, digits and dashes, found %q", name))
		case slices.Contains(taken, canonical):
			errs = append(errs, fmt.Errorf("header: expected a name that is none of %s, found %q", strings.Join(taken, ", "), name))
		case seen[canonical]:
			errs = append(errs, fmt.Errorf("header: %s is given twice", canonical))
		case header[name] == "":
			errs = append(errs, fmt.Errorf("header %s: expected a value, found nothing", name))
		case !ValidValue(header[name]):
			errs = append(errs, fmt.Errorf("header %s: expected no control characters in the value, found some", name))
		}
		seen[canonical] = true
	}
	return errors.Join(errs...)
}

// ValidValue reports whether a header may have the value.
func ValidValue(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// ParseURL parses the URL of a service.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("url: expected an http or https URL without user and fragment")
	}
	return u, nil
}
