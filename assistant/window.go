package assistant

import "unicode/utf8"

// tokens estimates how many tokens a text has: one for every four characters, which is about right for
// English.
func tokens(text string) int { return tokensIn(utf8.RuneCountInString(text)) }

func tokensIn(characters int) int { return (characters + 3) / 4 }

// tokensOfTurns is tokens of all of them.
func tokensOfTurns(turns []Turn) (n int) {
	for _, t := range turns {
		n += tokens(t.Content)
	}
	return n
}

// window selects what the model is told of a conversation: the newest whole turns that fit into limit
// tokens together with what is told anyway. Questions without an answer are left out: many models insist
// that roles alternate, and what failed once would fail again.
func window(messages []Message, used, limit int) (turns []Turn, trimmed bool) {
	first := len(messages)
	for i := len(messages) - 1; i > 0; i-- {
		question, answer := messages[i-1], messages[i]
		if !answers(question, answer) {
			continue
		}
		used += tokens(question.Content) + tokens(answer.Content)
		if used > limit {
			trimmed = true
			break
		}
		i--
		first = i
	}
	for i := first; i+1 < len(messages); i++ {
		if answers(messages[i], messages[i+1]) {
			turns = append(turns, Turn{RoleUser, messages[i].Content}, Turn{RoleAssistant, messages[i+1].Content})
		}
	}
	return turns, trimmed
}

func answers(question, answer Message) bool {
	return question.Role == RoleUser && answer.Role == RoleAssistant && answer.Content != ""
}
