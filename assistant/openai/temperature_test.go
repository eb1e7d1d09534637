package openai

import (
	"encoding/json"
	"testing"
)

// TestTemperature checks when one is sent, and which.
func TestTemperature(t *testing.T) {
	half, one := &Temperature{Value: 0.5}, 1.0
	const other = "http://localhost:11434/v1"
	for _, test := range []struct {
		name   string
		config Config
		want   string // "" = none
	}{
		{"OpenAI", Config{}, "0.7"},
		{"OpenAI, in another region", Config{BaseURL: "https://eu.api.openai.com/v1"}, "0.7"},
		{"given", Config{Temperature: half}, "0.5"},
		{"zero", Config{Temperature: &Temperature{}}, "0"},
		{"off", Config{Temperature: &Temperature{Off: true}}, ""},
		{"off beside top_p", Config{Temperature: &Temperature{Off: true}, TopP: &one}, ""},
		{"top_p", Config{TopP: &one}, ""},
		{"both", Config{TopP: &one, Temperature: half}, "0.5"},
		{"another server", Config{BaseURL: other}, ""},
		{"another server, given", Config{BaseURL: other, Temperature: half}, "0.5"},
		{"reasoning", Config{Model: "o3-mini"}, ""},
		{"searching", Config{Model: "gpt-4o-search-preview"}, ""},
		{"effort", Config{ReasoningEffort: "low"}, ""},
	} {
		chat, responses := newChat(test.config).params.Temperature, newResponses(test.config).params.Temperature
		got, _ := json.Marshal(chat)
		if test.want == "" && (chat.Valid() || responses.Valid()) || test.want != "" && (string(got) != test.want || chat != responses) {
			t.Errorf("%s: %s and %v, want %q", test.name, got, responses, test.want)
		}
	}
}

// TestTemperatureJSON reads and writes both forms.
func TestTemperatureJSON(t *testing.T) {
	for _, text := range []string{`0`, `0.7`, `2`, `"off"`} {
		var temperature Temperature
		if err := json.Unmarshal([]byte(text), &temperature); err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(temperature); string(got) != text || err != nil {
			t.Errorf("%s became %s, %v", text, got, err)
		}
	}
	for _, text := range []string{`"on"`, `true`, `{}`} {
		if err := json.Unmarshal([]byte(text), new(Temperature)); err == nil {
			t.Errorf("%s is a temperature", text)
		}
	}
}
