package termchat

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"
)

// uploadTimeout bounds the upload of a file.
const uploadTimeout = 5 * time.Minute

// upload uploads the files of the first question.
func (c *chat) upload() error {
	for _, name := range c.Files {
		attachment, err := c.uploadFile(name)
		if err != nil {
			return fmt.Errorf("file %s: %w", name, err)
		}
		c.attached = append(c.attached, attachment)
	}
	return nil
}

// uploadFile posts a file below the socket's path, with the socket's query and headers.
func (c *chat) uploadFile(name string) (session.Attachment, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	address, err := filesURL(c.URL, filepath.Base(name))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.ctx, uploadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, file)
	if err != nil {
		return nil, err
	}
	req.Header, req.ContentLength = c.Header.Clone(), info.Size()
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.TLS}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return nil, err
	}
	var answer struct {
		FileID    string `json:"file_id"`
		MediaType string `json:"media_type"`
		Detail    string `json:"detail"`
	}
	_ = json.Unmarshal(body, &answer) // of what is no JSON the status is told
	switch {
	case res.StatusCode == http.StatusCreated && strings.HasPrefix(answer.MediaType, "image/"):
		return session.AttachedImage{FileID: answer.FileID}, nil
	case res.StatusCode == http.StatusCreated:
		return session.AttachedFile{FileID: answer.FileID}, nil
	case answer.Detail != "":
		return nil, fmt.Errorf("%s (%d)", Printable(answer.Detail), res.StatusCode)
	case res.StatusCode == http.StatusUpgradeRequired, res.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("the server takes no files (%d)", res.StatusCode)
	}
	return nil, fmt.Errorf("the server answers %d %s", res.StatusCode, http.StatusText(res.StatusCode))
}

// filesURL is where files of a socket are uploaded.
func filesURL(socket, name string) (string, error) {
	u, err := url.Parse(socket)
	if err != nil {
		return "", err
	}
	u.Scheme = "http" + strings.TrimPrefix(u.Scheme, "ws")
	u.Path = strings.TrimSuffix(u.Path, "/") + "/files"
	query := u.Query()
	query.Set("name", name)
	u.RawQuery = query.Encode()
	return u.String(), nil
}
