package assistant

import "testing"

func TestTitle(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"  Two \t words\r\n":              "Two words",
		"a\x00b\x1b[31mc\x7f\u0085d":      "ab[31mc d",
		"\u202egpj.exe\u2066\u200f\u061c": "gpj.exe",
		"line\u2028separator":             "line separator",
		"\u202e\x07":                      "",
		"שלום 👨\u200d👩\u200d👧":            "שלום 👨\u200d👩\u200d👧",
	} {
		if got := Title(text); got != want {
			t.Errorf("Title(%q) = %q, want %q", text, got, want)
		}
	}
}
