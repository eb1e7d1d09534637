package assistant

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
)

// Reason is the stable code of an error frame.
type Reason string

// The reasons that a client may see.
const (
	ReasonBusy                Reason = "busy"
	ReasonRateLimited         Reason = "rate_limited"
	ReasonBudgetExceeded      Reason = "budget_exceeded"
	ReasonConversationFull    Reason = "conversation_full"
	ReasonUnauthorized        Reason = "unauthorized"
	ReasonUnknownTopic        Reason = "unknown_topic"
	ReasonNotSubscribed       Reason = "not_subscribed"
	ReasonNotFound            Reason = "not_found"
	ReasonNothingToRegenerate Reason = "nothing_to_regenerate"
	ReasonProviderUnavailable Reason = "provider_unavailable"
	ReasonProviderTimeout     Reason = "provider_timeout"
	ReasonProviderRateLimited Reason = "provider_rate_limited"
	ReasonProviderRejected    Reason = "provider_rejected"
	ReasonContextOverflow     Reason = "context_overflow"
	ReasonContentFiltered     Reason = "content_filtered"
	ReasonEmptyAnswer         Reason = "empty_answer"
	ReasonToolsUnsupported    Reason = "tools_unsupported"
	ReasonClientToolsOff      Reason = "client_tools_off"
	ReasonNotWaiting          Reason = "not_waiting"
	ReasonNothingToContinue   Reason = "nothing_to_continue"
	ReasonContentUnsupported  Reason = "content_unsupported"
	ReasonFileUnknown         Reason = "file_unknown"
	ReasonTooManyFiles        Reason = "too_many_files"
	ReasonFileTooLarge        Reason = "file_too_large"
	ReasonFileType            Reason = "file_type"
	ReasonFileInvalid         Reason = "file_invalid"
	ReasonFileInUse           Reason = "file_in_use"
	ReasonNameInvalid         Reason = "name_invalid"
	ReasonQuotaExceeded       Reason = "quota_exceeded"
	ReasonStorageUnavailable  Reason = "storage_unavailable"
	ReasonDraining            Reason = "draining"
	ReasonInternal            Reason = "internal"
)

// Explanation is what a [Reason] means.
type Explanation struct {
	Reason    Reason
	Retryable bool   // trying again can help
	Detail    string // a sentence for people
}

// reasons explains each Reason.
var reasons = []Explanation{
	{ReasonBusy, true, "Too many questions are waiting. Wait for an answer, then ask again."},
	{ReasonRateLimited, true, "Too many questions in a short time. Wait a moment, then ask again."},
	{ReasonBudgetExceeded, true, "The budget for answers is used up. Ask again later."},
	{ReasonConversationFull, false, "The conversation is full. Begin a new one."},
	{ReasonUnauthorized, false, "Sign in to see your conversations."},
	{ReasonUnknownTopic, false, "There is no such conversation."},
	{ReasonNotSubscribed, false, "Subscribe to the conversation first."},
	{ReasonNotFound, false, "There is no such conversation or message."},
	{ReasonNothingToRegenerate, false, "There is no question to answer again."},
	{ReasonProviderUnavailable, true, "The language model could not be reached, or stopped in mid-answer."},
	{ReasonProviderTimeout, true, "The language model did not answer in time."},
	{ReasonProviderRateLimited, true, "The language model is handling too many requests."},
	{ReasonProviderRejected, false, "The language model refused the request. The site's operator can find out why."},
	{ReasonContextOverflow, false, "The question is too long for the language model."},
	{ReasonContentFiltered, false, "The language model's content filter refused the question."},
	{ReasonEmptyAnswer, true, "The language model sent an answer without text."},
	{ReasonToolsUnsupported, false, "The language model asked for a tool, which is not available here."},
	{ReasonClientToolsOff, false, "This page's own tools are not allowed here."},
	{ReasonNotWaiting, false, "This decision is no longer needed."},
	{ReasonNothingToContinue, false, "There is no answer to continue."},
	{ReasonContentUnsupported, false, "The language model cannot read this kind of file."},
	{ReasonFileUnknown, false, "This file is no longer available. Attach it again."},
	{ReasonTooManyFiles, false, "There are too many files in this message."},
	{ReasonFileTooLarge, false, "The file is too large."},
	{ReasonFileType, false, "Files of this type are not accepted."},
	{ReasonFileInvalid, false, "The file is damaged, or is not what it seems to be."},
	{ReasonFileInUse, false, "The file is part of a question, and goes with it."},
	{ReasonNameInvalid, false, "The file's name is too long, or has characters that names must not have."},
	{ReasonQuotaExceeded, false, "The space for your files is used up. Delete conversations with files, then try again."},
	{ReasonStorageUnavailable, true, "The conversation cannot be stored right now."},
	{ReasonDraining, true, "The server is restarting. Try again in a moment."},
	{ReasonInternal, true, "Something went wrong on the server."},
}

// Explain returns what the reason means. An unknown one is explained as [ReasonInternal].
func (r Reason) Explain() Explanation {
	for _, e := range reasons {
		if e.Reason == r {
			return e
		}
	}
	return ReasonInternal.Explain()
}

// ProviderError is a fault of a model's service, sorted into the reasons of the protocol.
//
// Reason reaches the client, with a fixed sentence of ours. Err is for the operator's log only; it must
// not hold the service's key.
type ProviderError struct {
	Reason     Reason
	RetryAfter time.Duration // what the service asked for; 0 = nothing said
	// OfQuestion says that the service refuses this question and may answer any other: a chain of providers
	// does not count it against the service. A Reason which says that the question is too long or filtered
	// implies it.
	OfQuestion bool
	Err        error
}

func (e *ProviderError) Error() string { return fmt.Sprintf("%s: %v", e.Reason, e.Err) }
func (e *ProviderError) Unwrap() error { return e.Err }

// ErrUnfinished is how a provider ends that breaks the contract.
var ErrUnfinished = &ProviderError{Reason: ReasonProviderUnavailable, Err: errors.New("stream ended without a finish reason")}

// IsOfQuestion reports whether err is a fault of one question and not of its provider.
func IsOfQuestion(err error) bool {
	fault, ok := errors.AsType[*ProviderError](err)
	return ok && (fault.OfQuestion || fault.Reason == ReasonContextOverflow || fault.Reason == ReasonContentFiltered)
}

// RefusalError is why a command, or a frame, is not accepted. The client sees it as it is.
type RefusalError struct {
	Reason     Reason
	RetryAfter time.Duration // when it may succeed; 0 = nothing is known
}

func (e *RefusalError) Error() string { return string(e.Reason) }

// Refuse returns a [RefusalError] with that reason.
func Refuse(reason Reason) error { return &RefusalError{Reason: reason} }

// IsRefusal reports whether err refuses a client something, and nothing broke.
func IsRefusal(err error) bool {
	_, refused := errors.AsType[*RefusalError](err)
	return refused
}

// StoreError is a fault of the store. The client only learns that there was one.
type StoreError struct{ Err error }

func (e *StoreError) Error() string { return fmt.Sprintf("store: %v", e.Err) }
func (e *StoreError) Unwrap() error { return e.Err }

// OfStore returns the error of a command whose store call failed with err. [ErrStale] stays as it is.
func OfStore(err error) error {
	switch {
	case errors.Is(err, ErrStale):
		return err
	case errors.Is(err, ErrNotFound):
		return Refuse(ReasonNotFound)
	case errors.Is(err, ErrConversationFull):
		return Refuse(ReasonConversationFull)
	case errors.Is(err, ErrFileGone):
		return Refuse(ReasonFileUnknown)
	case errors.Is(err, ErrFileInUse):
		return Refuse(ReasonFileInUse)
	case errors.Is(err, ErrQuota):
		return Refuse(ReasonQuotaExceeded)
	}
	return &StoreError{err}
}

// Describe returns what a client learns of err: a reason, never err's own text.
func Describe(err error) Failed {
	if fault, ok := errors.AsType[*ProviderError](err); ok {
		return Failed{fault.Reason, fault.RetryAfter}
	}
	if refused, ok := errors.AsType[*RefusalError](err); ok {
		return Failed{refused.Reason, refused.RetryAfter}
	}
	if _, ok := errors.AsType[*StoreError](err); ok {
		return Failed{Reason: ReasonStorageUnavailable}
	}
	return Failed{Reason: ReasonInternal}
}

// PanicError is a recovered panic.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Catch is deferred by a function that returns a panic as its error.
func Catch(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{v, debug.Stack()}
	}
}

// FaultFields are what the log says of err: also the stack of a panic.
func FaultFields(err error) []zap.Field {
	fields := []zap.Field{zap.Error(err)}
	if crash, ok := errors.AsType[*PanicError](err); ok {
		fields = append(fields, zap.ByteString("stack", crash.Stack))
	}
	return fields
}
