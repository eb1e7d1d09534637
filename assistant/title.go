package assistant

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
)

const (
	titleInstructions = "Name the conversation that begins with the following question. Answer with a title of at most six words in the language of the question, and with nothing else: no quotation marks, no full stop."
	titleTimeout      = 30 * time.Second
	maxModelTitle     = 200 // characters, as in rename_conversation
)

// isFirstLocked tells whether the conversation has just had its first answer.
func (c *conversation) isFirstLocked() bool { return c.stored() && !c.more && len(c.messages) == 2 }

// nameByModel replaces the title that was made of the first question, unless somebody else has.
func (c *conversation) nameByModel(t *turn) {
	ctx, cancel := context.WithTimeout(c.ctx, titleTimeout)
	defer cancel()
	if c.title() != titleOf(t.question.Content) {
		return
	}
	title, err := askTitle(ctx, t)
	if err != nil || title == "" || c.title() != titleOf(t.question.Content) {
		t.assistant.Logger.Debug("no title from the model", zap.String("conversation_id", c.id), zap.Error(err))
		return
	}
	info, err := c.hub.store.Rename(ctx, c.owner, c.id, title)
	if err != nil {
		t.assistant.Logger.Warn("store title", zap.String("conversation_id", c.id), zap.Error(err))
		return
	}
	c.rename(info, nil)
}

// askTitle asks the model, at the cost of whoever asked the question.
func askTitle(ctx context.Context, t *turn) (string, error) {
	req := Request{Instructions: titleInstructions, Turns: []Turn{{RoleUser, t.question.Content}}}
	var m meter
	if err := m.open(t, tokens(req.Instructions)+tokensOfTurns(req.Turns)); err != nil {
		return "", err
	}
	var usage *Usage
	source := t.assistant.Provider.Source()
	defer func() { t.assistant.Observer.Titled(source, *m.pay(usage)) }()
	var b strings.Builder
	for d, err := range t.assistant.Provider.Stream(ctx, req) {
		if err != nil {
			return "", err
		}
		if d.Fallback != nil {
			source = d.Fallback.Next
		}
		if d.Usage != nil {
			usage = d.Usage
		}
		if !m.add(d.Text + d.Reasoning) {
			return "", errBudget
		}
		if b.WriteString(d.Text); b.Len() > 4*maxModelTitle {
			break
		}
	}
	title := strings.Trim(strings.Join(strings.Fields(b.String()), " "), `"'.*#`)
	if runes := []rune(title); len(runes) > maxModelTitle {
		title = string(runes[:maxModelTitle])
	}
	return title, nil
}

// maxTitle is the length of a title made of a question, in characters.
const maxTitle = 60

// titleOf shortens a question at a word.
func titleOf(question string) string {
	title := strings.Join(strings.Fields(question), " ")
	if utf8.RuneCountInString(title) <= maxTitle {
		return title
	}
	runes := []rune(title)[:maxTitle]
	for i := len(runes) - 1; i > maxTitle/2; i-- {
		if unicode.IsSpace(runes[i]) {
			return string(runes[:i]) + "…"
		}
	}
	return string(runes) + "…"
}
