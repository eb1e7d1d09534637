package caddymodule

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// subdirectives is a block's vocabulary: each name with what reads its arguments.
type subdirectives map[string]func(p *params) error

func (s subdirectives) String() string {
	if len(s) == 0 {
		return "there are none"
	}
	return "allowed are " + strings.Join(slices.Sorted(maps.Keys(s)), ", ")
}

// params are the arguments of one subdirective. Its methods read them whole: a wrong number or form is
// an error that says what was found and what is expected.
type params struct {
	*caddyfile.Dispenser
	name string
	args []string
}

// readBlock reads a directive without arguments and its block. Unknown names are errors, and so are
// repeated ones that are not repeatable.
func readBlock(d *caddyfile.Dispenser, directive string, known subdirectives, repeatable ...string) error {
	d.Next() // the directive itself
	return readRest(d, directive, known, repeatable...)
}

// readRest is readBlock after the directive and what else stands before the block.
func readRest(d *caddyfile.Dispenser, directive string, known subdirectives, repeatable ...string) error {
	if d.NextArg() {
		return d.Errf("%s: expected a block, found argument %q", directive, d.Val())
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read, ok := known[name]
		switch {
		case !ok:
			return d.Errf("%s: unknown subdirective %q; %s", directive, name, known)
		case seen[name] && !slices.Contains(repeatable, name):
			return d.Errf("%s: %s is given twice", directive, name)
		}
		seen[name] = true
		if err := read(&params{Dispenser: d, name: directive + ": " + name}); err != nil {
			return err
		}
	}
	return nil
}

// optional makes room for a value whose absence differs from its zero.
func optional[T any](p **T) *T {
	*p = new(T)
	return *p
}

// take reads all arguments of the line; count -1 means one or more.
func (p *params) take(count int, expected string) error {
	p.args = p.RemainingArgs()
	if len(p.args) != count && (count >= 0 || len(p.args) == 0) {
		return p.expected(expected)
	}
	return nil
}

func (p *params) expected(what string) error {
	found := "nothing"
	if len(p.args) > 0 {
		found = strconv.Quote(strings.Join(p.args, " "))
	}
	return p.Errf("%s: expected %s, found %s", p.name, what, found)
}

func (p *params) text(dst *string) error {
	err := p.take(1, "one value, in quotes where it has spaces")
	if err == nil {
		*dst = p.args[0]
	}
	return err
}

// checked reads a text that must pass check, whose error names the subdirective.
func (p *params) checked(dst *string, check func(string) error) error {
	if err := p.text(dst); err != nil {
		return err
	}
	if err := check(*dst); err != nil {
		return p.WrapErr(err)
	}
	return nil
}

// noBlock refuses a block where there is nothing to say in one.
func (p *params) noBlock() error {
	if p.NextBlock(p.Nesting()) {
		return p.Errf("%s: expected no block, found %q", p.name, p.Val())
	}
	return nil
}

func (p *params) choice(dst *string, allowed ...string) error {
	what := strings.Join(allowed, " or ")
	if err := p.take(1, what); err != nil {
		return err
	}
	if !slices.Contains(allowed, p.args[0]) {
		return p.expected(what)
	}
	*dst = p.args[0]
	return nil
}

// onOff reads a switch.
func (p *params) onOff(dst *bool) error {
	var found string
	err := p.choice(&found, "off", "on")
	*dst = found == "on"
	return err
}

// secret is text that no error repeats.
func (p *params) secret(dst *string) error {
	if args := p.RemainingArgs(); len(args) != 1 {
		return p.Errf("%s: expected one value, found %d", p.name, len(args))
	}
	*dst = p.Val()
	return nil
}

func (p *params) texts(dst *[]string) error {
	err := p.take(-1, "one or more values")
	*dst = p.args
	return err
}

// number reads a whole number. It is no method because methods cannot be generic.
func number[T int | int64](p *params, dst *T, low, high int64) error {
	what := "a whole number"
	if low > math.MinInt64 {
		what = fmt.Sprintf("a whole number from %d to %d", low, high)
	}
	if err := p.take(1, what); err != nil {
		return err
	}
	n, err := strconv.ParseInt(p.args[0], 10, 64)
	if err != nil || n < low || n > high {
		return p.expected(what)
	}
	*dst = T(n)
	return nil
}

func (p *params) decimal(dst *float64, low, high float64) error {
	what := fmt.Sprintf("a number from %g to %g", low, high)
	if err := p.take(1, what); err != nil {
		return err
	}
	x, err := strconv.ParseFloat(p.args[0], 64)
	if err != nil || !(x >= low && x <= high) {
		return p.expected(what)
	}
	*dst = x
	return nil
}

func (p *params) duration(dst *caddy.Duration) error {
	const what = "a duration like 30s"
	if err := p.take(1, what); err != nil {
		return err
	}
	d, err := caddy.ParseDuration(p.args[0])
	if err != nil || d < 0 {
		return p.expected(what)
	}
	*dst = caddy.Duration(d)
	return nil
}

func (p *params) size(dst *int64) error {
	const what = "a size like 64KiB or 1MiB"
	if err := p.take(1, what); err != nil {
		return err
	}
	n, err := humanize.ParseBytes(p.args[0])
	if err != nil || n == 0 || n > 1<<30 {
		return p.expected(what + ", at most 1GiB")
	}
	*dst = int64(n)
	return nil
}
