// Package setting lets a module describe its settings once, in a [Table]. From it come the reader of the
// Caddyfile, the check of a configuration in JSON, the defaults, and the manual's list of settings.
//
// A setting has one name: as a subdirective, as a JSON field and in messages. Every mistake names it, says what
// is expected and what was found: a Caddyfile's and JSON's in the same words.
package setting

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Table is the settings of a module, in the manual's order and groups.
type Table [][]Row

// Row is one setting.
type Row struct {
	Name    string
	Value   Value  // what it takes, and the field that it sets
	Default string // what holds without it, as a Caddyfile writes it; see [Table.SetDefaults]
	Without string // the same in words, where no fixed value says it
	Help    string // the rest of the manual's line
}

// Value is what a setting takes, bound to a field of the module.
type Value struct {
	Takes string // the syntax, for the manual
	Field any    // pointer to the field

	repeatable bool
	unset      func() bool
	read       func(*caddyfile.Dispenser) error // the rest of the line, and perhaps a block
	check      func() error
	defaults   func() error // sets those of a block that is there; nil = it has none
}

// mistake is what is wrong with a setting, without its name.
type mistake string

func (m mistake) Error() string { return string(m) }

// expected says that words were found where what was expected.
func expected(what string, words ...string) error {
	found := "nothing"
	if len(words) > 0 {
		found = strconv.Quote(strings.Join(words, " "))
	}
	return mistake("expected " + what + ", found " + found)
}

// Read reads a directive without arguments and its block. Unknown names are mistakes, and so are repeated ones
// that are not repeatable.
func (t Table) Read(d *caddyfile.Dispenser, directive string) error {
	d.Next() // the directive itself
	return t.ReadBlock(d, directive)
}

// ReadLabelled is Read where a label may stand before the block.
func (t Table) ReadLabelled(d *caddyfile.Dispenser, directive string, label *string) error {
	d.Next()
	if d.NextArg() {
		*label = d.Val()
		if err := CheckLabel(*label); err != nil {
			return d.Errf("%s: %v", directive, err)
		}
		directive += " " + *label
	}
	return t.ReadBlock(d, directive)
}

// ReadBlock reads the block of a directive whose arguments have been read.
func (t Table) ReadBlock(d *caddyfile.Dispenser, directive string) error {
	if d.NextArg() {
		return d.Errf("%s: expected a block, found argument %q", directive, d.Val())
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		row, ok := t.row(d.Val())
		switch {
		case !ok:
			return d.Errf("%s: unknown subdirective %q; %s%s", directive, d.Val(), meant(d.Val(), t.names()), t.allowed())
		case seen[row.Name] && !row.Value.repeatable:
			return d.Errf("%s: %s is given twice", directive, row.Name)
		}
		seen[row.Name] = true
		if err := ReadLine(d, directive+": "+row.Name, row.Value); err != nil {
			return err
		}
	}
	return nil
}

// ReadLine reads one value, for a directive without a block too.
func ReadLine(d *caddyfile.Dispenser, name string, v Value) error {
	err := v.read(d)
	if m, ok := errors.AsType[mistake](err); ok {
		return d.Errf("%s: %v%s", name, m, unset(d))
	}
	return err
}

// Check reports every field that is set to what its setting does not allow.
func (t Table) Check() error {
	var errs []error
	for row := range t.rows {
		if row.Value.check == nil || row.Value.unset() {
			continue
		}
		if err := row.Value.check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", row.Name, err))
		}
	}
	return errors.Join(errs...)
}

// SetDefaults sets the fields that are not set to their settings' defaults, also in blocks that are there.
func (t Table) SetDefaults() error {
	for row := range t.rows {
		if row.Value.defaults != nil && !row.Value.unset() {
			if err := row.Value.defaults(); err != nil {
				return err
			}
		}
		if row.Default == "" || !row.Value.unset() {
			continue
		}
		tokens, err := caddyfile.Tokenize([]byte(row.Name+" "+row.Default), "default")
		if err != nil {
			return err
		}
		d := caddyfile.NewDispenser(tokens)
		d.Next()
		if err := ReadLine(d, row.Name, row.Value); err != nil {
			return err
		}
	}
	return nil
}

func (t Table) rows(yield func(Row) bool) {
	for _, group := range t {
		for _, row := range group {
			if !yield(row) {
				return
			}
		}
	}
}

func (t Table) row(name string) (Row, bool) {
	for row := range t.rows {
		if row.Name == name {
			return row, true
		}
	}
	return Row{}, false
}

func (t Table) allowed() string {
	names := t.names()
	if len(names) == 0 {
		return "there are none"
	}
	return "allowed are " + strings.Join(names, ", ")
}

// names returns the names of all settings, in alphabetical order.
func (t Table) names() (names []string) {
	for row := range t.rows {
		names = append(names, row.Name)
	}
	slices.Sort(names)
	return names
}
