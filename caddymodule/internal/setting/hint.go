package setting

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// meant returns a question for the word that was probably meant, or "".
func meant(found string, words []string) string {
	best, at := 3, -1 // at most two letters apart
	for i, word := range words {
		if d := distance(found, word); d < best && d < len(word)/2+1 {
			best, at = d, i
		}
	}
	if at < 0 {
		return ""
	}
	return "did you mean " + words[at] + "? "
}

// distance is how many letters have to be added, dropped or replaced to make b of a (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// variable matches what a Caddyfile takes from the environment before it is parsed; it has no default.
var variable = regexp.MustCompile(`\{\$([^}:]+)\}`)

// unset names the variables in the line of d that are not set: nothing is left of them there. It is "" where there are
// none, or the file cannot be read.
func unset(d *caddyfile.Dispenser) string {
	text, err := os.ReadFile(d.File())
	if err != nil {
		return ""
	}
	lines := strings.Split(string(text), "\n")
	if d.Line() < 1 || d.Line() > len(lines) {
		return ""
	}
	var names []string
	for _, found := range variable.FindAllStringSubmatch(lines[d.Line()-1], -1) {
		if os.Getenv(found[1]) == "" && !slices.Contains(names, found[0]) {
			names = append(names, found[0])
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "; " + names[0] + " is empty or not set"
	}
	return "; " + strings.Join(names, " and ") + " are empty or not set"
}
