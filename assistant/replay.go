package assistant

// Replay returns the events of a turn that has ended: of its question and, where there is one, its answer. usual is who
// answers where the store does not know who did.
func Replay(messages []Message, usual Source) []Event {
	events := []Event{{Kind: KindAsked, Body: Asked{Message: messages[0]}}}
	for _, a := range messages[1:] {
		source := Source{Provider: a.Provider, Model: a.Model}
		if source.Model == "" {
			source = usual
		}
		events = append(events, Event{Kind: KindStarted, Run: a.ID, Body: Started{Source: source}})
		for _, p := range a.AllParts() {
			switch p := p.(type) {
			case TextPart:
				events = append(events, Event{Kind: KindPiece, Run: a.ID, Text: p.Text})
			case ReasoningPart:
				events = append(events, Event{Kind: KindReasoning, Run: a.ID, Text: p.Text})
			case ToolCallPart:
				events = append(events, Event{Kind: KindToolCall, Run: a.ID, Body: ToolCall{Call: p, GoesOn: true}})
			case ToolResultPart:
				events = append(events, Event{Kind: KindToolResult, Run: a.ID, Body: ToolResult{Result: p, GoesOn: true}})
			default:
				events = append(events, Event{Kind: KindPart, Run: a.ID, Body: Added{Part: p}})
			}
		}
		if a.Reason != "" {
			events = append(events, Event{Kind: KindFailed, Run: a.ID, Body: Failed{Reason: a.Reason}})
		}
		events = append(events, Event{Kind: KindCompleted, Run: a.ID, Body: Completed{FinishReason: a.FinishReason, Usage: a.Usage}})
	}
	return events
}
