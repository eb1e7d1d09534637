package conversation

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"go.uber.org/zap"
)

// Why an answer ends before the model has said all.
var (
	errStopped = errors.New("stopped by a client")
	errAlone   = errors.New("no socket is left")
	errBudget  = errors.New("the budget of tokens is used up")
)

// turn is one question and its answer.
type turn struct {
	// fixed
	id           string // the answer's message id
	assistant    *Assistant
	hub          *Hub
	instructions string
	regenerate   bool
	replaces     string // id of the question that it replaces, with all after it
	client       limits.Client
	origin       assistant.NodeID // the node that has forwarded it; 0 = none
	accepted     int              // the number of the claim under which it was; where origin is not 0

	// under the conversation's lock
	asker    assistant.Asker        // the last one
	keys     []assistant.RequestKey // of all askers, one for each mouth
	question assistant.Message      // set before it is shown
	counted  bool                   // as one of its payer's questions
	source   assistant.Source       // the answering goroutine reads it without the lock
	shown    bool                   // after its start
	ended    bool                   // after its end
	early    []decision             // about its calls, before its end
	away     away

	data map[string][]byte // of the question's files, in a connection's own conversation; nil once that keeps them

	// set before it is shown
	history []assistant.Turn
	trimmed bool             // the model does not receive all of the history
	resumed bool             // its answer was begun before, and goes on
	earlier *assistant.Usage // of an answer that goes on: until then; nil = none
	ctx     context.Context
	cancel  context.CancelCauseFunc

	started time.Time     // set by Hub.begin
	done    chan struct{} // closed after its last event

	// the answering goroutine's
	meter      limits.Meter
	toolbox    toolbox
	private    private            // where writing is held, too
	hidden     []assistant.Hidden // of this answer
	hiddenSize int                // of these, in bytes
	drafts     []draft            // calls that the model writes
	added      int                // parts of the model's service
	textBefore int                // characters of text before this step
	steps      int                // how often the model was asked, also before the answer went on
	calls      int                // of tools, that have ended
	kept       int                // of their results, in bytes
	spent      assistant.Usage    // of the steps before this one
	finish     assistant.FinishReason
	reason     assistant.Reason // why it failed; "" = it did not
	usage      *assistant.Usage
	waited     time.Duration // until the first piece
	pieces     int
	characters int                      // of text and reasoning
	observer   assistant.AnswerObserver // nil until it begins and after its end
	proven     time.Time                // until then its node is sure to be taken for alive
}

// newTurn is the turn of a question.
func newTurn(c *Conversation, ask assistant.Ask) *turn {
	t := newTurnOf(c, ask.Asker)
	t.regenerate, t.replaces = false, ask.Replaces
	t.question.ClientID, t.data = ask.ClientID, ask.Data
	t.setQuestion(ask.Text, ask.Parts)
	return t
}

// newTurnOf is the turn of an asker, without a question: it answers the last one again.
func newTurnOf(c *Conversation, asker assistant.Asker) *turn {
	a := c.hub.Using()
	return &turn{
		id: assistant.NewID(), assistant: a, hub: c.hub, source: a.Provider.Source(), instructions: asker.Instructions,
		client: a.Client(asker.Peer), done: make(chan struct{}), away: away{ended: make(chan struct{})},
		regenerate: true, asker: asker, keys: []assistant.RequestKey{asker.From},
		question: assistant.Message{ID: assistant.NewID(), Role: assistant.RoleUser, Status: assistant.StatusComplete},
	}
}

// join adds an asker. A mouth that asks again is named by its last key. The conversation's lock is held.
func (t *turn) join(asker assistant.Asker) {
	t.asker = asker
	if i := t.keyOf(asker.From.Mouth); i >= 0 {
		t.keys[i] = asker.From
	} else {
		t.keys = append(t.keys, asker.From)
	}
}

// keyOf returns where the key of an asker that is that mouth is, -1 where there is none. The conversation's lock is
// held.
func (t *turn) keyOf(mouth uint64) int {
	return slices.IndexFunc(t.keys, func(k assistant.RequestKey) bool { return k.Mouth == mouth })
}

// need is what the turn needs of a budget at least, in tokens.
func (t *turn) need() int {
	return limits.Tokens(t.instructions) + t.assistant.Window().TokensOf(t.question.Content, t.question.Parts)
}

// count counts the question as one of its payer's, or refuses it. All questions that may reach the model come
// here once, at the node at which they arrive; and to [limits.Meter.Open], with their history, where they begin.
func (t *turn) count() error {
	if t.origin != 0 {
		t.counted = true
		return nil
	}
	err := t.hub.accounts.Count(t.client, t.assistant.Rate, t.assistant.Budget, t.need())
	t.counted = err == nil
	return err
}

// uncount takes the question back.
func (t *turn) uncount() {
	if t.origin == 0 && t.counted && t.assistant.Rate.Count > 0 {
		t.hub.accounts.Uncount(t.client)
	}
	t.counted = false
}

// now is the current time with the precision that all stores keep.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// withoutNUL is text that every store can hold: PostgreSQL's text has no NUL.
func withoutNUL(text string) string { return strings.ReplaceAll(text, "\x00", "\uFFFD") }

// answer is the message before its first piece.
func (t *turn) answer() assistant.Message {
	return assistant.Message{ID: t.id, Role: assistant.RoleAssistant, Provider: t.source.Provider, Model: t.source.Model,
		Status: assistant.StatusStreaming, CreatedAt: t.started}
}

// ending are the last events of the turn, of which err is the fault if it failed.
func (t *turn) ending(err error, at time.Time) (events []assistant.Event) {
	if t.finish == assistant.FinishError {
		events = append(events, t.event(assistant.KindFailed, assistant.Describe(err)))
	}
	return append(events, t.event(assistant.KindCompleted, assistant.Completed{FinishReason: t.finish, Usage: t.whole(), At: at}))
}

// whole is the usage of the whole answer, also before it went on.
func (t *turn) whole() *assistant.Usage {
	if t.earlier == nil || t.usage == nil {
		return cmp.Or(t.usage, t.earlier)
	}
	return new(t.earlier.Plus(*t.usage))
}

// event is an event of the turn's answer.
func (t *turn) event(kind assistant.Kind, body assistant.Body) assistant.Event {
	return assistant.Event{Kind: kind, Run: t.id, Body: body}
}

// summary is what the observer and the log learn of an answer's end.
func (t *turn) summary(err error) assistant.AnswerSummary {
	s := assistant.AnswerSummary{Source: t.source, FinishReason: t.finish, Usage: *t.usage, Pieces: t.pieces, Steps: t.steps, Calls: t.calls, FirstPiece: t.waited, Duration: time.Since(t.started)}
	if t.finish == assistant.FinishError {
		s.Err, s.Reason = err, assistant.Describe(err).Reason
	}
	return s
}

// logEnd writes the one line of an answer, and reports the end to the observer.
func (c *Conversation) logEnd(t *turn, err error) {
	end := t.summary(err)
	if o := t.observer; o != nil {
		t.observer = nil
		o.Ended(end)
	}
	fields := append(c.fieldsOf(t), zap.Inline(end.Source), zap.String("message_id", t.id), zap.String("finish_reason", string(end.FinishReason)),
		zap.Int("input_tokens", end.Usage.InputTokens), zap.Int("output_tokens", end.Usage.OutputTokens), zap.Bool("estimated", end.Usage.Estimated),
		zap.Int("pieces", end.Pieces), zap.Int("steps", end.Steps), zap.Int("calls", end.Calls), zap.Duration("first_piece", end.FirstPiece), zap.Duration("duration", end.Duration))
	if t.finish != assistant.FinishError {
		t.assistant.Logger.Info("answer ended", append(fields, zap.NamedError("cause", err))...)
		return
	}
	fields = append(append(fields, assistant.FaultFields(err)...), zap.String("reason", string(end.Reason)))
	t.assistant.Logger.Error("answer failed", fields...)
}

// askerOf returns who asked last.
func (c *Conversation) askerOf(t *turn) assistant.Asker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.asker
}

// fieldsOf are the fields of every line about a turn.
func (c *Conversation) fieldsOf(t *turn) []zap.Field {
	fields := []zap.Field{zap.String("user", c.askerOf(t).Peer.User)}
	if c.stored() {
		fields = append(fields, zap.String("conversation_id", c.id))
	}
	return fields
}

// logContent writes the text of a message, where the settings and the logger's level let it.
func (c *Conversation) logContent(t *turn, m assistant.Message) {
	if !t.assistant.LogContent {
		return
	}
	if line := t.assistant.Logger.Check(zap.DebugLevel, "message"); line != nil {
		line.Write(append(c.fieldsOf(t), zap.String("message_id", m.ID), zap.String("role", string(m.Role)), zap.String("content", m.Content))...)
	}
}
