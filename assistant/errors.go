package assistant

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"
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
	ReasonStorageUnavailable  Reason = "storage_unavailable"
	ReasonDraining            Reason = "draining"
	ReasonInternal            Reason = "internal"
)

// reasons says for each Reason what people read, and whether trying again can help.
var reasons = []struct {
	reason    Reason
	retryable bool
	detail    string
}{
	{ReasonBusy, true, "Too many questions are waiting. Wait for an answer, then ask again."},
	{ReasonRateLimited, true, "Too many questions in a short time. Wait a moment, then ask again."},
	{ReasonBudgetExceeded, true, "The budget for answers is used up. Ask again later."},
	{ReasonConversationFull, false, "The conversation is full. Begin a new one."},
	{ReasonUnauthorized, false, "Sign in to have a list of conversations."},
	{ReasonUnknownTopic, false, "There is no such conversation."},
	{ReasonNotSubscribed, false, "Subscribe to the conversation first."},
	{ReasonNotFound, false, "There is no such conversation or message."},
	{ReasonNothingToRegenerate, false, "There is no question to answer again."},
	{ReasonProviderUnavailable, true, "The language model cannot be reached or broke off."},
	{ReasonProviderTimeout, true, "The language model did not answer in time."},
	{ReasonProviderRateLimited, true, "The language model is handling too many requests."},
	{ReasonProviderRejected, false, "The language model refused the request. The site's operator can find out why."},
	{ReasonContextOverflow, false, "The question is too long for the language model."},
	{ReasonContentFiltered, false, "The language model's content filter refused the question."},
	{ReasonStorageUnavailable, true, "The conversation cannot be stored right now."},
	{ReasonDraining, true, "The server is restarting. Try again in a moment."},
	{ReasonInternal, true, "Something went wrong on the server."},
}

// ProviderError is a fault of a model's service, sorted into the reasons of the protocol.
//
// Reason reaches the client, with a fixed sentence of ours. Err is for the operator's log only; it must
// not hold the service's key.
type ProviderError struct {
	Reason     Reason
	RetryAfter time.Duration // what the service asked for; 0 = nothing said
	// OfQuestion tells that the service refuses this question and may answer any other: a [Chain] does not
	// count it against the provider. It is so in any case where Reason says that the question is too long or
	// filtered.
	OfQuestion bool
	Err        error
}

func (e *ProviderError) Error() string { return fmt.Sprintf("%s: %v", e.Reason, e.Err) }
func (e *ProviderError) Unwrap() error { return e.Err }

// errUnfinished is how a provider ends that breaks the contract.
var errUnfinished = &ProviderError{Reason: ReasonProviderUnavailable, Err: errors.New("stream ended without a finish reason")}

// isOfQuestion tells a fault of one question from one of the provider.
func isOfQuestion(err error) bool {
	fault, ok := errors.AsType[*ProviderError](err)
	return ok && (fault.OfQuestion || fault.Reason == ReasonContextOverflow || fault.Reason == ReasonContentFiltered)
}

// reasonOf is what a client is told of err.
func reasonOf(err error) Reason { return describeError(err).Reason }

// refusal is a handler's error that the client is told as it is.
type refusal struct{ reason Reason }

func (e refusal) Error() string { return string(e.reason) }

// isRefusal tells what a client may not do from what broke here.
func isRefusal(err error) bool {
	_, refused := errors.AsType[refusal](err)
	_, over := errors.AsType[*limited](err)
	return refused || over
}

// storeFailed is what a request answers whose store call failed.
func storeFailed(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return refusal{ReasonNotFound}
	case errors.Is(err, ErrConversationFull):
		return refusal{ReasonConversationFull}
	}
	return &storageError{err}
}

// storageError is a fault of the store. The client is told only that there was one.
type storageError struct{ err error }

func (e *storageError) Error() string { return fmt.Sprintf("store: %v", e.err) }
func (e *storageError) Unwrap() error { return e.err }

// describeError is what a client is told of err: a reason and a sentence, never err's own text.
func describeError(err error) ErrorPayload {
	if pe, ok := errors.AsType[*ProviderError](err); ok {
		return errorPayload(pe.Reason, pe.RetryAfter)
	}
	if l, ok := errors.AsType[*limited](err); ok {
		return errorPayload(l.reason, l.retryAfter+time.Millisecond-1) // rounded up: then it succeeds
	}
	if r, ok := errors.AsType[refusal](err); ok {
		return errorPayload(r.reason, 0)
	}
	if _, ok := errors.AsType[*storageError](err); ok {
		return errorPayload(ReasonStorageUnavailable, 0)
	}
	return errorPayload(ReasonInternal, 0)
}

// panicError is a recovered panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// caught is deferred by a function that returns a panic as its error.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{v, debug.Stack()}
	}
}
