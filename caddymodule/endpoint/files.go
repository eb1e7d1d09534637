package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/media"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Files lets questions have images and files, which are uploaded by HTTP below the socket's own path: POST files?name=…, GET
// and DELETE files/<id>.
type Files struct {
	// Turns it off, where a snippet has turned it on. Default: false
	Off bool `json:"off,omitempty"`

	// The largest file, in bytes, up to 100 MiB. Default: 10485760 (10MiB)
	MaxSize int64 `json:"max_size,omitempty"`

	// How many files a question may have, up to 10. Default: 5
	MaxPerMessage int `json:"max_per_message,omitempty"`

	// How many bytes all files of a user may have, those that no question uses included; 0 is no limit.
	// Default: 100MiB
	Quota *int64 `json:"quota,omitempty"`

	// What is taken: png, jpeg, webp, gif, pdf, text, markdown, csv, json. What a file is, its bytes say.
	// Default: png jpeg webp gif pdf text markdown csv json
	Types []string `json:"types,omitempty"`

	// How many pixels an image may have; a progressive JPEG, and an image of 16 bits a channel, may have half as many.
	// Decoding takes some 6 bytes for each, for two images at once. Default: 25000000
	MaxPixels int `json:"max_pixels,omitempty"`

	// How long the longer side of an image may be, in pixels; a longer one is scaled down. Default: 2048
	MaxSide int `json:"max_side,omitempty"`

	// Whether anonymous clients may have files, too. What quota and rate limit is counted for each of their networks.
	// Default: false
	Anonymous bool `json:"anonymous,omitempty"`

	// How many files each user may upload. Default: 60/1m 20
	Rate *UploadRate `json:"rate,omitempty"`

	// How long a file is kept that no question uses. Default: 1h
	UploadWindow caddy.Duration `json:"upload_window,omitempty"`
}

// UploadRate is how many files a user may upload.
type UploadRate struct {
	// How many files, from 1.
	Uploads int `json:"uploads"`
	// In what time, on average.
	Per caddy.Duration `json:"per"`
	// How many of them at once. Default: uploads
	Burst int `json:"burst,omitempty"`
}

var uploadRate = setting.Form[UploadRate]{
	Takes: rate.Takes, Expected: "uploads per duration like 60/1m, and perhaps a burst like 20",
	Parse: func(words []string) (u UploadRate, ok bool) {
		r, ok := rate.Parse(words)
		return UploadRate{r.Questions, r.Per, r.Burst}, ok
	},
	Fault: func(u UploadRate) (string, bool) { return rate.Fault(Rate{u.Uploads, u.Per, u.Burst}) },
}

// maxFile is the largest max_size.
const maxFile = 100 << 20

// kinds are what a configuration calls the types of files.
var kinds = map[string]string{
	"png": media.PNG, "jpeg": media.JPEG, "webp": media.WebP, "gif": media.GIF, "pdf": media.PDF,
	"text": media.Text, "markdown": media.Markdown, "csv": media.CSV, "json": media.JSON,
}

// Settings is the table of files.
func (f *Files) Settings() setting.Table {
	types := setting.AllMatching("<type...>", "png, jpeg, webp, gif, pdf, text, markdown, csv or json",
		func(word string) bool { return kinds[word] != "" })
	size := setting.Size[int64]()
	size.Expected, size.Fault = "a size like 10MiB, at most 100MiB", func(n int64) (string, bool) { return strconv.FormatInt(n, 10), n <= 0 || n > maxFile }
	quota := setting.Size[int64]()
	quota.Expected, quota.Fault = "0 or a size like 100MiB, at most 1GiB", func(n int64) (string, bool) { return strconv.FormatInt(n, 10), n < 0 || n > 1<<30 }
	return setting.Table{{
		{Name: "max_size", Value: size.Into(&f.MaxSize), Default: "10MiB", Help: "of one file as it comes"},
		{Name: "max_per_message", Value: setting.Number[int]("<n>", 1, 10).Into(&f.MaxPerMessage), Default: "5"},
		{Name: "quota", Value: quota.IntoOptional(&f.Quota), Default: "100MiB", Help: "of all files of a user; 0 = no limit"},
		{Name: "types", Value: types.Into(&f.Types), Without: "png jpeg webp gif pdf text markdown csv json", Help: "by what the bytes say"},
		{Name: "max_pixels", Value: setting.Number[int]("<n>", 1, 1e8).Into(&f.MaxPixels), Default: "25000000", Help: "of an image"},
		{Name: "max_side", Value: setting.Number[int]("<pixels>", 16, 16384).Into(&f.MaxSide), Default: "2048", Help: "longer images are scaled down"},
		{Name: "anonymous", Value: setting.Flag().Into(&f.Anonymous), Default: "off", Help: "also for clients without a user, counted by network"},
		{Name: "rate", Value: uploadRate.IntoOptional(&f.Rate), Default: "60/1m 20", Help: "uploads of a user"},
		{Name: "upload_window", Value: setting.Duration().Into(&f.UploadWindow), Default: "1h", Help: "how long a file is kept that no question uses"},
	}}
}

// engine returns the settings as the engine has them.
func (f *Files) engine(inMemory int64) (files conversation.Files) {
	if f == nil || f.Off {
		return files
	}
	files = conversation.Files{
		On: true, Anonymous: f.Anonymous, MaxSize: f.MaxSize, MaxPerMessage: f.MaxPerMessage, Quota: *f.Quota,
		Config: media.Config{MaxPixels: f.MaxPixels, MaxSide: f.MaxSide},
		Rate:   limits.Rate{Count: f.Rate.Uploads, Per: time.Duration(f.Rate.Per), Burst: f.Rate.Burst},
		Window: time.Duration(f.UploadWindow), InMemory: inMemory,
	}
	for _, kind := range f.Types {
		files.Types = append(files.Types, kinds[kind])
	}
	return files
}

// hasFiles reports whether files are on.
func (h *Handler) hasFiles() bool { return h.Files != nil && !h.Files.Off }

// filesAddress is the path to which clients upload files.
func (h *Handler) filesAddress() string { return strings.TrimSuffix(h.Address, "/") + "/files" }

// filesPath returns the id in the path of a request for files; ok is false for any other request.
func (h *Handler) filesPath(r *http.Request) (id string, ok bool) {
	if !h.hasFiles() || ws.IsUpgrade(r) {
		return "", false
	}
	if strings.HasSuffix(r.URL.Path, "/files") {
		return "", true
	}
	slash := strings.LastIndexByte(r.URL.Path, '/')
	id = r.URL.Path[slash+1:]
	return id, id != "" && strings.HasSuffix(r.URL.Path[:slash+1], "/files/")
}

// serveFiles answers a request for files, by the same rules as a handshake: of users, origins and drains.
func (h *Handler) serveFiles(w http.ResponseWriter, r *http.Request, id string) error {
	w.Header().Add("Vary", "Origin")
	if !ws.OriginAllowed(r, h.Origins) {
		return caddyhttp.Error(http.StatusForbidden, errors.New("the page's origin is not allowed"))
	}
	shareWith(w, r)
	serve := h.verb(r.Method, id)
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", allowedVerbs(id))
		w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
		w.Header().Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if serve == nil {
		w.Header().Set("Allow", allowedVerbs(id))
		return caddyhttp.Error(http.StatusMethodNotAllowed, fmt.Errorf("method %.10q is not allowed", r.Method))
	}
	peer := h.peer(r)
	if err := checkUser(peer.User); err != nil {
		return caddyhttp.Error(http.StatusBadRequest, err)
	}
	addLogFields(r.Context(), h.Name, peer)
	if !h.hub.acquire() {
		return refuseFile(w, assistant.Refuse(assistant.ReasonDraining))
	}
	defer h.hub.giveBack()
	err := h.hub.Run(r.Context(), func(ctx context.Context) error { return serve(w, r.WithContext(ctx), peer, id) })
	if errors.Is(err, conversation.ErrClosed) {
		err = assistant.Refuse(assistant.ReasonDraining)
	}
	if err != nil {
		return refuseFile(w, err)
	}
	return nil
}

type fileVerb func(w http.ResponseWriter, r *http.Request, peer assistant.Peer, id string) error

// verb returns what a method does with all files, or with one; nil where it does nothing.
func (h *Handler) verb(method, id string) fileVerb {
	if id == "" {
		return map[string]fileVerb{http.MethodPost: h.uploadFile}[method]
	}
	return map[string]fileVerb{http.MethodGet: h.sendFile, http.MethodHead: h.sendFile, http.MethodDelete: h.deleteFile}[method]
}

func allowedVerbs(id string) string {
	if id == "" {
		return "POST, OPTIONS"
	}
	return "GET, HEAD, DELETE, OPTIONS"
}

// shareWith lets the pages that may connect read the answer (the Fetch standard's CORS protocol).
func shareWith(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" {
		header := w.Header()
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true") // as the handshake, which has the same cookies
		header.Set("Access-Control-Expose-Headers", "Retry-After, "+refusalHeader)
	}
}

// fileStatus is the status of each reason that is not 503.
var fileStatus = map[assistant.Reason]int{
	assistant.ReasonNameInvalid: http.StatusBadRequest, assistant.ReasonUnauthorized: http.StatusUnauthorized,
	assistant.ReasonFileUnknown: http.StatusNotFound, assistant.ReasonFileInUse: http.StatusConflict,
	assistant.ReasonFileTooLarge: http.StatusRequestEntityTooLarge, assistant.ReasonFileType: http.StatusUnsupportedMediaType,
	assistant.ReasonContentUnsupported: http.StatusUnsupportedMediaType, assistant.ReasonFileInvalid: http.StatusUnprocessableEntity,
	assistant.ReasonRateLimited: http.StatusTooManyRequests, assistant.ReasonQuotaExceeded: http.StatusTooManyRequests,
	assistant.ReasonInternal: http.StatusInternalServerError,
}

// refuseFile answers with an error as a frame has it.
func refuseFile(w http.ResponseWriter, err error) error {
	failed := assistant.Describe(err)
	status, ok := fileStatus[failed.Reason]
	if !ok {
		status = http.StatusServiceUnavailable
		failed.RetryAfter = max(failed.RetryAfter, time.Second)
	}
	header := w.Header()
	if failed.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(failed.RetryAfter.Seconds()))))
	}
	header.Set("Cache-Control", "no-store")
	return answerJSON(w, status, session.Explain(failed))
}

func answerJSON(w http.ResponseWriter, status int, body any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(body)
}

// uploads holds one for each upload that is in memory in this process.
var uploads = make(chan struct{}, 16)

const (
	// uploadPatience is how long an upload waits for a place among them.
	uploadPatience = 10 * time.Second
	// uploadTime is how long the body of an upload may take.
	uploadTime = 2 * time.Minute
)

// uploaded answers an upload.
type uploaded struct {
	ID        string    `json:"file_id"`
	MediaType string    `json:"media_type"`
	Name      string    `json:"name,omitempty"`
	Size      int64     `json:"size"`
	Width     int       `json:"width,omitempty"`
	Height    int       `json:"height,omitempty"`
	Pages     int       `json:"pages,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

// uploadFile stores the body.
func (h *Handler) uploadFile(w http.ResponseWriter, r *http.Request, peer assistant.Peer, _ string) error {
	name := r.URL.Query().Get("name")
	if err := h.mayUpload(peer, name, r.ContentLength); err != nil {
		h.assistant.Uploaded(peer, assistant.File{}, 0, 0, err)
		return err
	}
	select {
	case uploads <- struct{}{}:
		defer func() { <-uploads }()
	case <-time.After(uploadPatience):
		return assistant.Refuse(assistant.ReasonBusy)
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	start := time.Now()
	data, err := h.body(w, r)
	if err != nil {
		h.assistant.Uploaded(peer, assistant.File{}, len(data), time.Since(start), err)
		return err
	}
	f, err := h.assistant.Upload(r.Context(), peer, name, data)
	if err != nil {
		return err
	}
	w.Header().Set("Location", r.URL.Path+"/"+f.ID)
	w.Header().Set("Cache-Control", "no-store")
	return answerJSON(w, http.StatusCreated, uploaded{f.ID, f.MediaType, f.Name, f.Size, f.Width, f.Height, f.Pages, f.CreatedAt.Add(h.assistant.Files.Window)})
}

// mayUpload refuses an upload before its body is read.
func (h *Handler) mayUpload(peer assistant.Peer, name string, size int64) error {
	switch err := h.assistant.MayUpload(peer); {
	case err != nil:
		return err
	case h.hub.Draining():
		return assistant.Refuse(assistant.ReasonDraining)
	case !assistant.IsFileName(name):
		return assistant.Refuse(assistant.ReasonNameInvalid)
	case size > h.assistant.Files.MaxSize:
		return assistant.Refuse(assistant.ReasonFileTooLarge)
	}
	return h.assistant.CountUpload(peer)
}

// body reads the body of a request, of which the length is right or unknown.
func (h *Handler) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	if control.SetReadDeadline(time.Now().Add(uploadTime)) == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	if r.ContentLength >= 0 {
		data := make([]byte, r.ContentLength)
		if n, err := io.ReadFull(r.Body, data); err != nil {
			return data[:n], errLeft
		}
		return data, nil
	}
	// In pieces: a buffer that grows would take up to three times the size.
	var pieces [][]byte
	for left := h.assistant.Files.MaxSize + 1; left > 0; {
		piece := make([]byte, min(left, assistant.FilePiece))
		n, err := fill(r.Body, piece)
		pieces = append(pieces, piece[:n])
		switch left -= int64(n); {
		case err == io.EOF && left > 0: //nolint:errorlint // wrapped, it is another error
			return slices.Concat(pieces...), nil
		case err != nil && left > 0:
			return nil, errLeft
		}
	}
	return nil, assistant.Refuse(assistant.ReasonFileTooLarge)
}

// fill is io.ReadFull whose error is the reader's: of a body, that it has ended, or was cut.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	return n, err
}

// errLeft says that a body has ended before its time: the client has gone, mostly.
var errLeft = assistant.Refuse(assistant.ReasonFileInvalid)

// sendFile answers with a file. Of one that is not there, and of another user's, nothing but that is said.
func (h *Handler) sendFile(w http.ResponseWriter, r *http.Request, peer assistant.Peer, id string) error {
	if !assistant.IsID(id) {
		return assistant.Refuse(assistant.ReasonFileUnknown)
	}
	f, reader, err := h.hub.OpenFile(r.Context(), peer.User, id)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", f.MediaType)
	if strings.HasPrefix(f.MediaType, "text/") {
		header.Set("Content-Type", f.MediaType+"; charset=utf-8")
	}
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if len(h.Origins) > 0 {
		header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	header.Set("Cache-Control", "private, max-age=31536000, immutable")
	header.Set("ETag", `"`+f.ID+`"`)
	header.Set("Content-Disposition", disposition(f))
	http.ServeContent(w, r, "", f.CreatedAt, reader)
	return nil
}

// disposition lets browsers show only images that are encoded anew.
func disposition(f assistant.File) string {
	kind := "attachment"
	if slices.Contains([]string{media.PNG, media.JPEG}, f.MediaType) {
		kind = "inline"
	}
	if f.Name == "" {
		return kind
	}
	return mime.FormatMediaType(kind, map[string]string{"filename": f.Name})
}

func (h *Handler) deleteFile(w http.ResponseWriter, r *http.Request, peer assistant.Peer, id string) error {
	if !assistant.IsID(id) {
		return assistant.Refuse(assistant.ReasonFileUnknown)
	}
	if err := h.hub.DeleteFile(r.Context(), peer.User, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
