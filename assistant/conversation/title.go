package conversation

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/think"
	"go.uber.org/zap"
)

const (
	titleInstructions = "Name the conversation that begins with the following question. Answer with a title of at most six words in the language of the question, and with nothing else: no quotation marks, no full stop."
	titleTimeout      = 30 * time.Second
	maxModelTitle     = 200 // characters, as in rename_conversation
)

// isFirstLocked reports whether the conversation has just had its first answer.
func (c *Conversation) isFirstLocked() bool {
	return c.stored() && !c.view.More && len(c.view.Messages) == 2
}

// titleOf returns the title that a first question makes: its text or, where it has none, the name of its first file.
func titleOf(question assistant.Message) string {
	title := assistant.TitleOf(question.Content)
	for _, part := range question.Parts {
		f, _ := assistant.FileOf(part)
		title = cmp.Or(title, assistant.TitleOf(f.Name))
	}
	return title
}

// nameByModel replaces the title that was made of the first question. A user's rename wins, also one that comes
// while the model is asked.
func (c *Conversation) nameByModel(t *turn) {
	ctx, cancel := context.WithTimeout(c.ctx, titleTimeout)
	defer cancel()
	was := titleOf(t.question)
	if c.title() != was || assistant.IsBlank(t.question.Content) {
		return
	}
	title, err := askTitle(ctx, t)
	if err == nil && title != "" {
		_, err = c.rename(ctx, assistant.Rename{Title: title}, &was)
	}
	switch _, broken := errors.AsType[*assistant.StoreError](err); {
	case broken:
		t.assistant.Logger.Warn("store title", zap.String("conversation_id", c.id), zap.Error(err))
	case err != nil || title == "":
		t.assistant.Logger.Debug("no title from the model", zap.String("conversation_id", c.id), zap.Error(err))
	}
}

// askTitle asks the model. The payer of the question pays for it.
func askTitle(ctx context.Context, t *turn) (title string, err error) {
	defer assistant.Catch(&err)
	req := assistant.Request{Instructions: titleInstructions, Turns: []assistant.Turn{{Role: assistant.RoleUser, Content: t.question.Content}}, TextOnly: true}
	var m limits.Meter
	if err := m.Open(t.hub.accounts, t.client, limits.Rate{}, t.assistant.Budget, limits.Tokens(req.Instructions)+t.assistant.Window().Tokens(req.Turns)); err != nil {
		return "", err
	}
	req.MaxTokens = m.Limit()
	var usage *assistant.Usage
	source := t.assistant.Provider.Source()
	defer func() { t.assistant.Observer.Titled(source, *m.Pay(usage)) }()
	var tags think.Splitter // a title is no place for reasoning, wherever the service leaves it
	var b strings.Builder
	for d, err := range t.assistant.Provider.Stream(ctx, req) {
		if err != nil {
			return "", err
		}
		if d.Fallback != nil {
			source = d.Fallback.Next
			m.Failed(d.Fallback.Usage)
		}
		if d.Usage != nil {
			usage = d.Usage
		}
		if !m.Add(utf8.RuneCountInString(d.Text) + utf8.RuneCountInString(d.Reasoning)) {
			return "", errBudget
		}
		text, _ := tags.Split(d.Text)
		if b.WriteString(text); b.Len() > 4*maxModelTitle {
			break
		}
	}
	rest, _ := tags.Rest()
	b.WriteString(rest)
	title = strings.Trim(assistant.Title(b.String()), `"'.*#`)
	if runes := []rune(title); len(runes) > maxModelTitle {
		title = string(runes[:maxModelTitle])
	}
	return title, nil
}
