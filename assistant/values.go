package assistant

import "iter"

// What documents say of types that are parts of payloads.

// Doc describes conversations.
func (Conversation) Doc() string { return "A stored conversation." }

// Doc describes messages.
func (Message) Doc() string { return "One side's message in a stored conversation." }

// Doc describes text.
func (TextPart) Doc() string { return "Text." }

// Doc describes reasoning.
func (ReasoningPart) Doc() string { return "What the model said to itself." }

// Doc describes images.
func (ImagePart) Doc() string { return "A stored image." }

// Doc describes files.
func (FilePart) Doc() string { return "A stored file that is no image." }

// Doc describes sources.
func (SourcePart) Doc() string { return "A citation: where a passage of the text comes from." }

// Doc describes calls of tools.
func (ToolCallPart) Doc() string { return "A call of a tool by the model." }

// Doc describes results of tools.
func (ToolResultPart) Doc() string { return "What a tool returned." }

// Doc describes usage.
func (Usage) Doc() string { return "How many tokens an answer took." }

// Doc describes finish reasons.
func (FinishReason) Doc() string { return "How the answer ended. Absent while it runs." }

// Values lists the finish reasons.
func (FinishReason) Values() iter.Seq2[string, string] {
	return values(
		value(FinishStop, "the model was done"),
		value(FinishLength, "the model reached its token limit"),
		value(FinishContentFilter, "the model's filter cut the answer"),
		value(FinishStopped, "a client asked for it, or no client was left"),
		value(FinishBudget, "the user's budget of tokens is spent"),
		value(FinishError, "it failed; an `error` came before"),
		value(FinishInterrupted, "the server was stopped in the middle"),
		value(FinishWaiting, "calls of tools wait for a person, or for the client; then the answer goes on, with another `streaming_start`"),
	)
}

// Doc describes the reasons of notices.
func (NoticeReason) Doc() string { return "What is worth knowing, for programs." }

// Values lists the reasons of notices.
func (NoticeReason) Values() iter.Seq2[string, string] {
	return values(
		value(NoticeQueued, "the question waits for an earlier one"),
		value(NoticeContextTrimmed, "the oldest turns were left out of what the model reads"),
		value(NoticeProviderFallback, "another model answers"),
		value(NoticeDraining, "the server stops: reconnect soon"),
		value(NoticeSuperseded, "the rest of the answer goes to a later request with the same `client_id`"),
		value(NoticeNothingToStop, "no such answer was running"),
		value(NoticeToolsUnavailable, "the server of some tools does not answer: the model does without"),
		value(NoticeToolSteps, "the model has called tools as often as it may, and ends without more"),
	)
}

// Doc describes roles.
func (Role) Doc() string { return "Who wrote the message." }

// Values lists the roles.
func (Role) Values() iter.Seq2[string, string] {
	return values(
		value(RoleUser, "the user"),
		value(RoleAssistant, "the language model"),
	)
}

// Doc describes progress.
func (Progress) Doc() string { return "How far a call is." }

// Doc describes inputs.
func (Input) Doc() string { return "Something that a tool asks a person." }

// Doc describes where tools run.
func (Where) Doc() string { return "Where the tool runs." }

// Values lists where tools run.
func (Where) Values() iter.Seq2[string, string] {
	return values(
		value(WhereServer, "at the server"),
		value(WhereClient, "in the page of who has asked"),
		value(WhereProvider, "at the model's service"),
	)
}

// Doc describes what calls wait for.
func (WaitingFor) Doc() string { return "What a waiting call waits for." }

// Values lists what calls wait for.
func (WaitingFor) Values() iter.Seq2[string, string] {
	return values(
		value(WaitingForApproval, "a person approves or denies it: `decide_tool_call`"),
		value(WaitingForClient, "the client makes the call: `submit_tool_result`"),
		value(WaitingForInput, "a person answers what the tool asks: `submit_tool_input`"),
	)
}

// Doc describes the states of calls.
func (CallState) Doc() string { return "How far a call of a tool is." }

// Values lists the states of calls.
func (CallState) Values() iter.Seq2[string, string] {
	return values(
		value(CallPreparing, "the model still writes the arguments"),
		value(CallWaiting, "a person has to decide, or the client to make it"),
		value(CallRunning, "it is being made"),
		value(CallDone, "the tool has returned"),
		value(CallFailed, "the tool has failed, or could not be called"),
		value(CallDenied, "a person has denied it, or nobody has decided in time"),
		value(CallUnknown, "it is not known whether the call was made; it is not made again"),
	)
}

// Doc describes statuses.
func (Status) Doc() string { return "How far the message is." }

// Values lists the statuses.
func (Status) Values() iter.Seq2[string, string] {
	return values(
		value(StatusComplete, "it is whole"),
		value(StatusStreaming, "the answer is under way"),
		value(StatusStopped, "the answer was stopped; its text so far is kept"),
		value(StatusFailed, "the answer failed; of a question: its answer failed before any text"),
		value(StatusInterrupted, "the server was stopped in the middle; the text so far is kept"),
		value(StatusWaiting, "a person has to decide about the answer's calls of tools"),
	)
}

// Doc describes the reasons of errors.
func (Reason) Doc() string { return "What went wrong, for programs." }

// Values lists the reasons of errors.
func (Reason) Values() iter.Seq2[string, string] {
	return func(yield func(value, meaning string) bool) {
		for _, r := range reasons {
			if !yield(string(r.Reason), r.Detail) {
				return
			}
		}
	}
}

// meant is a value of an enumeration, and what it means.
type meant struct{ value, meaning string }

func value[T ~string](v T, meaning string) meant { return meant{string(v), meaning} }

func values(all ...meant) iter.Seq2[string, string] {
	return func(yield func(value, meaning string) bool) {
		for _, v := range all {
			if !yield(v.value, v.meaning) {
				return
			}
		}
	}
}
