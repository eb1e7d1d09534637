package setting

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// Form is how values of a type are written in a Caddyfile, and which of them are allowed.
type Form[T any] struct {
	Takes    string                                  // the syntax, for the manual
	Expected string                                  // the same in words, for mistakes
	Parse    func(words []string) (value T, ok bool) // reads all the words of a line
	Fault    func(value T) (found string, bad bool)  // finds what is not allowed; nil allows all
}

// Into binds the form to a field, whose zero value means that the setting is absent.
func (f Form[T]) Into(field *T) Value {
	return f.bind(field, reflect.ValueOf(field).Elem().IsZero, func() T { return *field }, func(v T) { *field = v })
}

// IntoOptional binds the form to a field that is nil where the setting is absent.
func (f Form[T]) IntoOptional(field **T) Value {
	return f.bind(field, func() bool { return *field == nil }, func() T { return **field }, func(v T) { *field = &v })
}

func (f Form[T]) bind(field any, unset func() bool, get func() T, set func(T)) Value {
	return Value{
		Takes: f.Takes, Field: field, unset: unset,
		read: func(d *caddyfile.Dispenser) error {
			words := d.RemainingArgs()
			value, ok := f.Parse(words)
			if !ok {
				return expected(f.Expected, words...)
			}
			if found, bad := f.fault(value); bad && slices.Contains(words, found) {
				return expected(f.Expected, found)
			} else if bad {
				return expected(f.Expected, words...)
			}
			set(value)
			return nil
		},
		check: func() error {
			if found, bad := f.fault(get()); bad {
				return expected(f.Expected, found)
			}
			return nil
		},
	}
}

func (f Form[T]) fault(value T) (found string, bad bool) {
	if f.Fault == nil {
		return "", false
	}
	return f.Fault(value)
}

// single parses a line of one word.
func single[T any](parse func(word string) (T, bool)) func([]string) (T, bool) {
	return func(words []string) (value T, ok bool) {
		if len(words) != 1 {
			return value, false
		}
		return parse(words[0])
	}
}

// unless makes a Fault of what is allowed.
func unless[T any](allowed func(T) bool, show func(T) string) func(T) (string, bool) {
	return func(value T) (string, bool) { return show(value), !allowed(value) }
}

// itself is how a text is shown and parsed.
func itself(s string) string         { return s }
func parsed(s string) (string, bool) { return s, true }

// Text is any text.
func Text(takes string) Form[string] {
	return Form[string]{Takes: takes, Expected: "one value, in quotes where it has spaces", Parse: single(parsed)}
}

// Matching is a text that must be allowed.
func Matching(takes, expected string, allowed func(string) bool) Form[string] {
	return Form[string]{takes, expected, single(parsed), unless(allowed, itself)}
}

// Texts is one or more texts.
func Texts(takes string) Form[[]string] {
	return Form[[]string]{Takes: takes, Expected: "one or more values", Parse: func(words []string) ([]string, bool) {
		return words, len(words) > 0
	}}
}

// AllMatching is one or more texts that must all be allowed.
func AllMatching(takes, expected string, allowed func(string) bool) Form[[]string] {
	f := Texts(takes)
	f.Expected = expected
	f.Fault = func(values []string) (string, bool) {
		i := slices.IndexFunc(values, func(v string) bool { return !allowed(v) })
		if i < 0 {
			return "", false
		}
		return values[i], true
	}
	return f
}

// None is a line with nothing more on it.
func None() Value {
	return Value{read: func(d *caddyfile.Dispenser) error {
		if words := d.RemainingArgs(); len(words) > 0 {
			return expected("no value", words...)
		}
		return nil
	}}
}

// Lines is one or more texts, a line for each.
func Lines(takes string, field *[]string) Value { return Each(Text(takes), field) }

// Each is one or more values of a form, a line for each.
func Each[T any](f Form[T], field *[]T) Value {
	return Value{
		Takes: f.Takes, Field: field, repeatable: true, unset: func() bool { return *field == nil },
		read: func(d *caddyfile.Dispenser) error {
			words := d.RemainingArgs()
			value, ok := f.Parse(words)
			if ok {
				_, bad := f.fault(value)
				ok = !bad
			}
			if !ok {
				return expected(f.Expected, words...)
			}
			*field = append(*field, value)
			return nil
		},
		check: func() error {
			for _, value := range *field {
				if found, bad := f.fault(value); bad {
					return expected(f.Expected, found)
				}
			}
			return nil
		},
	}
}

// Flag is a word that means yes where it stands alone.
func Flag() Form[bool] {
	f := Switch()
	parse := f.Parse
	f.Takes, f.Expected = "[off | on]", "nothing, off or on"
	f.Parse = func(words []string) (bool, bool) {
		if len(words) == 0 {
			return true, true
		}
		return parse(words)
	}
	return f
}

// Choice is one of a few words.
func Choice(words ...string) Form[string] {
	return Matching(strings.Join(words, " | "), enumerate(words), func(word string) bool { return slices.Contains(words, word) })
}

func enumerate(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// Switch is off or on.
func Switch() Form[bool] {
	return Form[bool]{Takes: "off | on", Expected: "off or on", Parse: single(func(word string) (bool, bool) {
		return word == "on", word == "on" || word == "off"
	})}
}

// Number is a whole number from low to high.
func Number[T int | int64](takes string, low, high int64) Form[T] {
	expected := "a whole number"
	if low > math.MinInt64 {
		expected = fmt.Sprintf("a whole number from %d to %d", low, high)
	}
	parse := func(word string) (T, bool) {
		n, err := strconv.ParseInt(word, 10, 64)
		return T(n), err == nil && int64(T(n)) == n
	}
	allowed := func(n T) bool { return int64(n) >= low && int64(n) <= high }
	return Form[T]{takes, expected, single(parse), unless(allowed, func(n T) string { return strconv.FormatInt(int64(n), 10) })}
}

// Decimal is a number from low to high.
func Decimal(low, high float64) Form[float64] {
	parse := func(word string) (float64, bool) {
		x, err := strconv.ParseFloat(word, 64)
		return x, err == nil
	}
	allowed := func(x float64) bool { return x >= low && x <= high } // NaN is neither
	return Form[float64]{
		fmt.Sprintf("<%g..%g>", low, high), fmt.Sprintf("a number from %g to %g", low, high), single(parse),
		unless(allowed, func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }),
	}
}

// Duration is a length of time above zero.
func Duration() Form[caddy.Duration] {
	return Form[caddy.Duration]{"<duration>", "a duration like 30s, above 0", single(parseDuration), unless(func(d caddy.Duration) bool { return d > 0 }, ShowDuration)}
}

// DurationOrZero is a length of time, whose zero has a meaning of its own.
func DurationOrZero() Form[caddy.Duration] {
	f := Duration()
	f.Expected = "0 or a duration like 30s"
	f.Fault = unless(func(d caddy.Duration) bool { return d >= 0 }, ShowDuration)
	return f
}

func parseDuration(word string) (caddy.Duration, bool) {
	d, err := caddy.ParseDuration(word)
	return caddy.Duration(d), err == nil
}

// ShowDuration writes a duration as a Caddyfile has it, such as 1h30m.
func ShowDuration(d caddy.Duration) string {
	return zeroUnits.ReplaceAllString(time.Duration(d).String(), "$1")
}

// zeroUnits are the ends of 5m0s and 1h0m0s.
var zeroUnits = regexp.MustCompile(`([hm])(?:0m)?0s$`)

// maxSize is the largest size that a setting takes.
const maxSize = 1 << 30

// Size is a number of bytes up to 1 GiB.
func Size[T int | int64]() Form[T] {
	parse := func(word string) (T, bool) {
		n, err := humanize.ParseBytes(word)
		return T(min(n, maxSize+1)), err == nil
	}
	allowed := func(n T) bool { return n > 0 && n <= maxSize }
	return Form[T]{"<size>", "a size like 64KiB or 1MiB, at most 1GiB", single(parse), unless(allowed, func(n T) string { return strconv.FormatInt(int64(n), 10) })}
}

// Secret is a text that no message repeats.
func Secret(takes string, field *string) Value {
	v := Text(takes).Into(field)
	v.read = func(d *caddyfile.Dispenser) error {
		words := d.RemainingArgs()
		if len(words) != 1 {
			return mistake(fmt.Sprintf("expected one value, found %d", len(words)))
		}
		*field = words[0]
		return nil
	}
	return v
}

// Hidden keeps what a line says out of messages: they say what is expected, and how many words were found.
func (v Value) Hidden(expect string) Value {
	read := v.read
	v.read = func(d *caddyfile.Dispenser) error {
		line := *d
		found := len(line.RemainingArgs())
		err := read(d)
		if _, ok := errors.AsType[mistake](err); ok {
			return mistake(fmt.Sprintf("expected %s, found words: %d", expect, found))
		}
		return err
	}
	return v
}

// WithoutBlock makes a block after the value a mistake, for a directive that takes none.
func (v Value) WithoutBlock() Value {
	read := v.read
	v.read = func(d *caddyfile.Dispenser) error {
		if err := read(d); err != nil {
			return err
		}
		if d.NextBlock(d.Nesting()) {
			return mistake("expected no block, found " + strconv.Quote(d.Val()))
		}
		return nil
	}
	return v
}

// Pair is a word for a key and one for its value, each key once: "extra <field> <json>".
func Pair[T any](takes, expect string, field *map[string]T, parse func(word string) (T, bool)) Value {
	return Value{
		Takes: takes, Field: field, repeatable: true, unset: func() bool { return *field == nil },
		read: func(d *caddyfile.Dispenser) error {
			words := d.RemainingArgs()
			if len(words) != 2 {
				return expected(expect, words...)
			}
			value, ok := parse(words[1])
			if !ok {
				return expected(expect, words...)
			}
			if _, twice := (*field)[words[0]]; twice {
				return mistake(words[0] + " is given twice")
			}
			if *field == nil {
				*field = map[string]T{}
			}
			(*field)[words[0]] = value
			return nil
		},
	}
}

// SecretPair is Pair for values that no message repeats: "header <name> <value>".
func SecretPair(takes, expect string, field *map[string]string) Value {
	v := Pair(takes, expect, field, parsed)
	v.read = func(d *caddyfile.Dispenser) error {
		words := d.RemainingArgs()
		switch {
		case len(words) != 2:
			return mistake(fmt.Sprintf("expected %s, found words: %d", expect, len(words)))
		case *field == nil:
			*field = map[string]string{}
		}
		if _, twice := (*field)[words[0]]; twice {
			return mistake(words[0] + " is given twice")
		}
		(*field)[words[0]] = words[1]
		return nil
	}
	return v
}

// Block is a block with a table of its own, for a field that is nil without it.
func Block[T any](field **T, settings func(*T) Table) Value {
	return Value{
		Takes: "{ … }", Field: field, unset: func() bool { return *field == nil },
		read: func(d *caddyfile.Dispenser) error {
			name, module := d.Val(), new(T)
			table := settings(module)
			if err := table.ReadBlock(d, name); err != nil {
				return err
			}
			for row := range table.rows {
				if !row.Value.unset() {
					*field = module
					return nil
				}
			}
			return expected("a block with settings")
		},
		check: func() error { return settings(*field).Check() },
	}
}

// SwitchedBlock is nothing or on, perhaps with a block of settings, or off alone, for a field that is nil without it. off
// returns where the module notes that it is off.
func SwitchedBlock[T any](field **T, off func(*T) *bool, settings func(*T) Table) Value {
	return Value{
		Takes: "[on | off] { … }", Field: field, unset: func() bool { return *field == nil },
		read: func(d *caddyfile.Dispenser) error {
			name, module := d.Val(), new(T)
			words := d.RemainingArgs()
			isOn, ok := Flag().Parse(words)
			if !ok {
				return expected("nothing, on or off, and perhaps a block", words...)
			}
			if *off(module) = !isOn; isOn {
				if err := settings(module).ReadBlock(d, name); err != nil {
					return err
				}
			} else if d.NextBlock(d.Nesting()) {
				return mistake("expected no block with off, found " + strconv.Quote(d.Val()))
			}
			*field = module
			return nil
		},
		check:    func() error { return settings(*field).Check() },
		defaults: func() error { return settings(*field).SetDefaults() },
	}
}

var label = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// CheckLabel checks a provider's label, which distinguishes it from others of its kind.
func CheckLabel(text string) error {
	if !label.MatchString(text) {
		return fmt.Errorf("label: %w", expected("up to 64 letters, digits, dots, dashes and underscores", text))
	}
	return nil
}
