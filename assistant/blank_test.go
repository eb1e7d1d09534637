package assistant

import "testing"

func TestIsBlank(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, " \t\r\n": true, "\u00a0\u3000": true, "\u200b\u200d\ufeff\u2060\u202e": true, "\x00\x1b\u0085": true, "\u3164\u115f\ufe0f\u2800": true,
		"x": false, " . ": false, "\u200b0\u200b": false, "\U0001F600": false, "\u0301": false, "\uFFFD": false,
	} {
		if got := IsBlank(text); got != want {
			t.Errorf("IsBlank(%q) = %v", text, got)
		}
	}
}
