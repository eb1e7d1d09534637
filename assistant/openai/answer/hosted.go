package answer

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// hosted is what the service's own tools bring into an answer: calls, and the sources of passages.
type hosted struct {
	isHosted bool // the service may use such tools
	runes    int  // of text so far
	base     int  // of these, before the content part to which notes refer
	sources  int
}

// note is an annotation of a passage.
type note struct {
	Type     jsontext.Value `json:"type"`
	URL      jsontext.Value `json:"url"`
	Title    jsontext.Value `json:"title"`
	Filename jsontext.Value `json:"filename"`
	Start    jsontext.Value `json:"start_index"`
	End      jsontext.Value `json:"end_index"`
}

// addText adds a piece of text.
func (t *responses) addText(delta jsontext.Value) (assistant.Delta, error) {
	d, err := t.add(t.textOf(delta), "")
	if t.isHosted {
		t.runes += utf8.RuneCountInString(d.Text)
	}
	return d, err
}

// source returns where a passage comes from.
func (t *responses) source(n *note) (d assistant.Delta) {
	part := assistant.SourcePart{Title: strings.Clone(textOf(n.Title))}
	switch plain(n.Type) {
	case "url_citation":
		part.URL = strings.Clone(textOf(n.URL))
		if !strings.HasPrefix(part.URL, "https://") && !strings.HasPrefix(part.URL, "http://") {
			return d
		}
		start, startErr := strconv.ParseUint(string(n.Start), 10, 24)
		end, endErr := strconv.ParseUint(string(n.End), 10, 24)
		if startErr == nil && endErr == nil && start < end {
			part.Start, part.End = t.base+int(start), t.base+int(end)
		}
	case "file_citation":
		part.Title = strings.Clone(textOf(n.Filename))
	default:
		return d
	}
	t.sources++
	part.SourceID = "source_" + strconv.Itoa(t.sources)
	d.Parts = &[]assistant.Part{part}
	return d
}

// textOf returns a member that is text; "" for any other.
func textOf(value jsontext.Value) string {
	if value.Kind() != '"' {
		return ""
	}
	return plain(value)
}

// serviceCall returns a call that the service makes itself, as it is now.
func (t *responses) serviceCall(it *item, isOver bool) (d assistant.Delta) {
	call := assistant.ToolCallPart{CallID: strings.Clone(textOf(it.ID)), Where: assistant.WhereProvider, State: assistant.CallRunning}
	arguments := map[string]jsontext.Value{}
	switch plain(it.Type) {
	case "web_search_call":
		call.Name, call.Title = "web_search", "Web search"
		var action object[struct {
			Query jsontext.Value `json:"query"`
			URL   jsontext.Value `json:"url"`
		}]
		_ = json.Unmarshal(asObject(it.Action), &action, lenient) // of another form it says nothing
		arguments["query"], arguments["url"] = action.V.Query, action.V.URL
	case "file_search_call":
		call.Name, call.Title = "file_search", "File search"
		arguments["queries"] = it.Queries
	case "code_interpreter_call":
		call.Name, call.Title = "code_interpreter", "Code"
		arguments["code"] = it.Code
	default:
		return d
	}
	if call.CallID == "" {
		return d
	}
	call.Arguments = membersOf(arguments)
	parts := []assistant.Part{call}
	if isOver {
		call.State = assistant.CallDone
		if plain(it.Status) == "failed" {
			call.State = assistant.CallFailed
		}
		parts[0] = call
		if logs := logsOf(it); logs != "" {
			parts = append(parts, assistant.ToolResultPart{CallID: call.CallID, Content: logs, IsError: call.State == assistant.CallFailed})
		}
		if back := membersOf(map[string]jsontext.Value{"type": it.Type, "id": it.ID, "status": it.Status, "action": it.Action, "queries": it.Queries,
			"code": it.Code, "container_id": it.Runs}); t.tools && len(back) <= maxHidden {
			d.Hidden = &assistant.Hidden{Item: back} // reasoning that comes back before it must not stand alone
		}
	}
	d.Parts = &parts
	return d
}

// logsOf returns what a program has written.
func logsOf(it *item) string {
	var logs strings.Builder
	for _, o := range it.Outputs {
		logs.WriteString(textOf(o.V.Logs))
	}
	return logs.String()
}

// membersOf returns an object with those members that say something.
func membersOf(values map[string]jsontext.Value) []byte {
	said := map[string]jsontext.Value{}
	for name, value := range values {
		if given(value) {
			said[name] = value
		}
	}
	object, err := json.Marshal(said, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return []byte("{}")
	}
	return object
}
