package setting

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// module has a setting of each form.
type module struct {
	text     string
	texts    []string
	lines    []string
	choice   string
	on       bool
	number   int
	seed     *int64
	decimal  *float64
	duration caddy.Duration
	keep     caddy.Duration
	size     int
	secret   string
	pairs    map[string]int
	hidden   map[string]string
	block    *inner
	login    []string
}

// pair is two words.
var pair = Form[[]string]{"<name> <password>", "two words", func(words []string) ([]string, bool) { return words, len(words) == 2 }, nil}

type inner struct {
	word  string
	words []string
}

func (m *module) settings() Table {
	return Table{{
		{Name: "text", Value: Text("<text>").Into(&m.text), Default: `"two words"`},
		{Name: "texts", Value: AllMatching("<text...>", "texts without x", func(s string) bool { return s != "x" }).Into(&m.texts), Default: "a b"},
		{Name: "lines", Value: Lines("<text>", &m.lines)},
		{Name: "choice", Value: Choice("one", "two", "three").Into(&m.choice), Default: "two"},
		{Name: "on", Value: Switch().Into(&m.on), Default: "off"},
	}, {
		{Name: "number", Value: Number[int]("<n>", 1, 9).Into(&m.number), Default: "8"},
		{Name: "seed", Value: Number[int64]("<n>", math.MinInt64, math.MaxInt64).IntoOptional(&m.seed), Without: "none"},
		{Name: "decimal", Value: Decimal(0, 2).IntoOptional(&m.decimal), Default: "0.5"},
		{Name: "duration", Value: Duration().Into(&m.duration), Default: "25s"},
		{Name: "keep", Value: DurationOrZero().Into(&m.keep), Without: "for ever"},
		{Name: "size", Value: Size[int]().Into(&m.size), Default: "1MiB"},
		{Name: "secret", Value: Secret("<key>", &m.secret)},
		{Name: "pairs", Value: Pair("<name> <n>", "a name and a number", &m.pairs, func(s string) (int, bool) {
			n, err := strconv.Atoi(s)
			return n, err == nil
		})},
		{Name: "hidden", Value: SecretPair("<name> <value>", "a name and a value", &m.hidden)},
		{Name: "login", Value: pair.Into(&m.login).Hidden("a name and a password")},
		{Name: "block", Value: Block(&m.block, func(i *inner) Table {
			return Table{{
				{Name: "word", Value: Choice("one", "two").Into(&i.word)},
				{Name: "words", Value: Texts("<text...>").Into(&i.words)},
			}}
		})},
	}}
}

// TestRead reads a line of each form, or says what is wrong with it.
func TestRead(t *testing.T) {
	for line, want := range map[string]string{
		"text ok":         "",
		`text ""`:         "",
		"text":            `m: text: expected one value, in quotes where it has spaces, found nothing`,
		"text a b":        `m: text: expected one value, in quotes where it has spaces, found "a b"`,
		"texts a b c":     "",
		"texts":           `m: texts: expected texts without x, found nothing`,
		"texts a x b":     `m: texts: expected texts without x, found "x"`,
		"lines a":         "",
		"lines a b":       `m: lines: expected one value, in quotes where it has spaces, found "a b"`,
		"lines":           `m: lines: expected one value, in quotes where it has spaces, found nothing`,
		"choice three":    "",
		"choice four":     `m: choice: expected one, two or three, found "four"`,
		"on on":           "",
		"on yes":          `m: on: expected off or on, found "yes"`,
		"number 9":        "",
		"number 10":       `m: number: expected a whole number from 1 to 9, found "10"`,
		"number 1.5":      `m: number: expected a whole number from 1 to 9, found "1.5"`,
		"seed 0":          "",
		"seed x":          `m: seed: expected a whole number, found "x"`,
		"decimal 2":       "",
		"decimal 2.1":     `m: decimal: expected a number from 0 to 2, found "2.1"`,
		"decimal NaN":     `m: decimal: expected a number from 0 to 2, found "NaN"`,
		"duration 1m":     "",
		"duration 0":      `m: duration: expected a duration like 30s, above 0, found "0"`,
		"duration 20":     `m: duration: expected a duration like 30s, above 0, found "20"`,
		"keep 0":          "",
		"keep -1s":        `m: keep: expected 0 or a duration like 30s, found "-1s"`,
		"size 1GiB":       "",
		"size 1025MiB":    `m: size: expected a size like 64KiB or 1MiB, at most 1GiB, found "1025MiB"`,
		"size 0":          `m: size: expected a size like 64KiB or 1MiB, at most 1GiB, found "0"`,
		"secret sk 1":     `m: secret: expected one value, found 2`,
		"pairs a 1":       "",
		"pairs a one":     `m: pairs: expected a name and a number, found "a one"`,
		"number {\n x\n}": `m: number: expected a whole number from 1 to 9, found nothing`,

		"hidden a b":                      "",
		"hidden a":                        `m: hidden: expected a name and a value, found words: 1`,
		"hidden a Bearer s3cret":          `m: hidden: expected a name and a value, found words: 3`,
		"hidden a s3cret\nhidden a b":     `m: hidden: a is given twice`,
		"login a b":                       "",
		"login":                           `m: login: expected a name and a password, found words: 0`,
		"login a s3cret b":                `m: login: expected a name and a password, found words: 3`,
		"block {\nword one\nwords a b\n}": "",
		"block":                           `m: block: expected a block with settings, found nothing`,
		"block x":                         `block: expected a block, found argument "x"`,
		"block {\nword three\n}":          `block: word: expected one or two, found "three"`,
		"block {\nword one\nword two\n}":  `block: word is given twice`,
		"block {\nother\n}":               `block: unknown subdirective "other"; allowed are word, words`,

		"text a\ntext b":             `m: text is given twice`,
		"lines a\nlines b":           "",
		"pairs a 1\npairs b 2":       "",
		"pairs a 1\npairs a 2":       `m: pairs: a is given twice`,
		"texts a x\nnot read at all": `m: texts: expected texts without x, found "x"`,
		"chioce one":                 `m: unknown subdirective "chioce"; did you mean choice? allowed are block, choice,`,
		"sed 1":                      `m: unknown subdirective "sed"; did you mean seed? allowed are block, choice,`,
		"unknown":                    `m: unknown subdirective "unknown"; allowed are block, choice, decimal, duration, hidden, keep, lines, login, number, on, pairs, secret, seed, size, text, texts`,
	} {
		got := ""
		if err := new(module).settings().Read(caddyfile.NewTestDispenser("m {\n"+line+"\n}"), "m"); err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(want, ",") && want != "" {
			want += ", at "
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q\n got %s\nwant %s", line, got, want)
		}
	}
}

// TestUnset names the variables of which nothing is left.
func TestUnset(t *testing.T) {
	file := t.TempDir() + "/Caddyfile"
	for line, want := range map[string]string{
		"text {$NO_SUCH}":                  "m: text: expected one value, in quotes where it has spaces, found nothing; {$NO_SUCH} is empty or not set, at " + file + ":3",
		"secret {$NO_SUCH}{$NOR_THIS_ONE}": "m: secret: expected one value, found 0; {$NO_SUCH} and {$NOR_THIS_ONE} are empty or not set, at " + file + ":3",
		"text {$NO_SUCH:a} b":              `m: text: expected one value, in quotes where it has spaces, found "a b", at ` + file + ":3",
	} {
		text := []byte("example.com {\nm {\n" + line + "\n}\n}\n")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		blocks, err := caddyfile.Parse(file, text)
		if err != nil {
			t.Fatal(err)
		}
		if err := new(module).settings().Read(caddyfile.NewDispenser(blocks[0].Segments[0]), "m"); err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", line, err, want)
		}
	}
}

// TestMistakesSetNothing holds that a field keeps its value when the line is wrong.
func TestMistakesSetNothing(t *testing.T) {
	m := &module{number: 3}
	if err := m.settings().Read(caddyfile.NewTestDispenser("m {\nnumber 10\n}"), "m"); err == nil || m.number != 3 {
		t.Errorf("%v, number %d", err, m.number)
	}
}

// TestSetDefaults sets what is absent, by the words of a Caddyfile, and nothing else.
func TestSetDefaults(t *testing.T) {
	zero := 0.
	m := &module{choice: "one", decimal: &zero}
	if err := m.settings().SetDefaults(); err != nil {
		t.Fatal(err)
	}
	want := &module{
		text: "two words", texts: []string{"a", "b"}, choice: "one", number: 8, decimal: &zero,
		duration: caddy.Duration(25 * time.Second), size: 1 << 20,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v, want %+v", m, want)
	}
	if err := m.settings().Check(); err != nil {
		t.Error(err)
	}
	var raw json.RawMessage
	wrong := Table{{{Name: "store", Value: Guest("", "no.such.namespace", &raw), Default: "memory"}}}
	if err := wrong.SetDefaults(); err == nil {
		t.Error("a default that cannot be read was set")
	}
}

// TestShowDuration writes durations as people do.
func TestShowDuration(t *testing.T) {
	for _, text := range []string{"1h", "1h30m", "10m", "5m", "90ms", "1m30s", "10s", "100h0m1s", "0s"} {
		d, err := caddy.ParseDuration(text)
		if got := ShowDuration(caddy.Duration(d)); err != nil || got != text {
			t.Errorf("%s is shown as %s (%v)", text, got, err)
		}
	}
}
