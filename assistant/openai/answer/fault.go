package answer

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ServiceError is an error that the service reported. All of its text comes from outside.
type ServiceError struct {
	Status  int // of HTTP; 0 = in the middle of a stream
	Type    string
	Code    string
	Message string
}

func (f *ServiceError) Error() string {
	text := "error in the stream"
	if f.Status != 0 {
		text = fmt.Sprintf("status %d", f.Status)
	}
	for _, part := range []struct{ name, value string }{{"type", f.Type}, {"code", f.Code}, {"message", f.Message}} {
		if part.value != "" {
			text += fmt.Sprintf(", %s %q", part.name, part.value)
		}
	}
	return text
}

// ErrorOfBody reads a response that is no stream. Where it has no error in a known form, all of it is the message.
func ErrorOfBody(status int, body []byte) *ServiceError {
	f := faultIn("", bytes.TrimSpace(body))
	if f == nil {
		f = &ServiceError{Message: string(body)}
	}
	f.Status = status
	return f
}

// report is an object in which a service may report an error: the error itself or what stands around it. The names are
// those of OpenAI, FastChat, vLLM, MiniMax, Baidu, DashScope, Databricks, Cloudflare, Anthropic, Google, FastAPI and
// of RFC 9457.
type report struct {
	Error   jsontext.Value `json:"error"`
	Errors  jsontext.Value `json:"errors"`
	Object  jsontext.Value `json:"object"`
	Type    jsontext.Value `json:"type"`
	Success jsontext.Value `json:"success"`

	Code       jsontext.Value `json:"code"`
	ErrorCode  jsontext.Value `json:"error_code"`
	StatusCode jsontext.Value `json:"status_code"`
	Status     jsontext.Value `json:"status"`
	ErrorType  jsontext.Value `json:"error_type"`

	Message      jsontext.Value `json:"message"`
	Msg          jsontext.Value `json:"msg"`
	ErrorMsg     jsontext.Value `json:"error_msg"`
	ErrorMessage jsontext.Value `json:"error_message"`
	StatusMsg    jsontext.Value `json:"status_msg"`
	Detail       jsontext.Value `json:"detail"`
	Text         jsontext.Value `json:"text"`

	BaseResp object[struct {
		Code    jsontext.Value `json:"status_code"`
		Message jsontext.Value `json:"status_msg"`
	}] `json:"base_resp"`
}

// faultIn returns the error that an event without an answer reports, nil if it reports none: by its name, by a member
// for errors, or as an object that is one itself.
func faultIn(name string, data []byte) *ServiceError {
	var r report
	if json.Unmarshal(asObject(data), &r, lenient) != nil {
		if name != "error" {
			return nil
		}
		return &ServiceError{Message: string(data)}
	}
	if f := faultOf(r.Error); f != nil {
		if r.Error.Kind() != '{' { // the rest may stand around it
			f.Code, f.Type = r.code(), r.kind()
		}
		if r.Error.Kind() == 't' {
			f.Message = r.message()
		}
		return f
	}
	if f := faultOf(r.Errors); f != nil {
		return f
	}
	if isFailure(r.BaseResp.V.Code) {
		return &ServiceError{Code: plain(r.BaseResp.V.Code), Message: plain(r.BaseResp.V.Message)}
	}
	if r.reports(name) {
		return &ServiceError{Type: r.kind(), Code: r.code(), Message: cmp.Or(r.message(), string(data))}
	}
	return nil
}

// reports reports whether r itself is an error.
func (r *report) reports(name string) bool {
	switch {
	case name == "error", plain(r.Object) == "error", plain(r.Type) == "error", r.Success.Kind() == 'f':
		return true
	case isFailure(r.ErrorCode), given(r.ErrorMsg), given(r.ErrorMessage):
		return true
	case r.message() == "":
		return false
	case r.saysFailure():
		return true
	default: // a message, with a code or alone with its detail
		return isFailure(r.Code) || isFailure(r.StatusCode) || statusIn(plain(r.Status)) > 0 || given(r.Detail)
	}
}

func (r *report) saysFailure() bool {
	status := strings.ToLower(plain(r.Status))
	return status == "error" || status == "failed"
}

func (r *report) code() string { return firstOf(r.ErrorCode, r.Code, r.StatusCode, r.Status) }
func (r *report) kind() string { return firstOf(r.ErrorType, r.Type) }
func (r *report) message() string {
	return firstOf(r.ErrorMsg, r.ErrorMessage, r.StatusMsg, r.Message, r.Msg, r.Detail, r.Text)
}

// faultOf reads an error object, or any other value that a server puts in its place. It returns nil for one that says
// nothing: some servers write an empty error into every chunk.
func faultOf(value jsontext.Value) *ServiceError {
	if !given(value) {
		return nil
	}
	if value.Kind() == '[' {
		var list []jsontext.Value
		if json.Unmarshal(value, &list, lenient) == nil && len(list) > 0 {
			return faultOf(list[0])
		}
	}
	var r report
	if value.Kind() != '{' || json.Unmarshal(value, &r, lenient) != nil {
		return &ServiceError{Message: plain(value)}
	}
	if message := r.message(); message == "" && !given(r.Type) && !given(r.Code) && !given(r.Error) {
		if r.isEmpty(value) {
			return nil
		}
		return &ServiceError{Message: string(value)}
	} else if !isFailure(r.Code) && (given(r.Code) || isSuccess(message)) {
		return nil // {"code": 200, "message": "…"}, {"message": "ok"}
	} else if f := faultOf(r.Error); f != nil && message == "" {
		return f
	}
	kind := r.kind()
	if kind == "" && r.Status.Kind() == '"' {
		kind = plain(r.Status) // Google
	}
	return &ServiceError{Type: kind, Code: firstOf(r.Code, r.ErrorCode, r.StatusCode), Message: cmp.Or(r.message(), string(value))}
}

// isEmpty reports whether no member says anything.
func (r *report) isEmpty(value jsontext.Value) bool {
	var members map[string]jsontext.Value
	if json.Unmarshal(value, &members, lenient) != nil {
		return false
	}
	for _, member := range members {
		if given(member) {
			return false
		}
	}
	return true
}

// isFailure reports whether a code is given and none of success.
func isFailure(code jsontext.Value) bool {
	if !given(code) {
		return false
	}
	text := strings.ToLower(strings.TrimSpace(plain(code)))
	if n, err := strconv.Atoi(text); err == nil {
		return n != 0 && (n < 200 || n > 299)
	}
	return !isSuccess(text)
}

func isSuccess(text string) bool {
	return strings.EqualFold(text, "ok") || strings.EqualFold(text, "success")
}

// statusIn returns the HTTP status that a code is, or begins with where it has five digits as FastChat's have, else 0.
func statusIn(code string) int {
	n, err := strconv.Atoi(strings.TrimSpace(code))
	if n >= 40000 && n < 60000 {
		n /= 100
	}
	if err != nil || n < 400 || n > 599 {
		return 0
	}
	return n
}

// ToldStatus returns the HTTP status, or the one in the code of an error in a stream; 0 if there is none.
func (f *ServiceError) ToldStatus() int {
	if f.Status >= 300 {
		return f.Status
	}
	return statusIn(f.Code)
}

// firstOf returns the text of the first value that says something.
func firstOf(values ...jsontext.Value) string {
	for _, value := range values {
		if given(value) {
			return plain(value)
		}
	}
	return ""
}
