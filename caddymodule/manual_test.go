package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/brokers"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/chatpage"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/docs"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/providers"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/stores"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// modules are those with a table of settings, as docs/settings.md shows them.
var modules = []struct {
	heading, comment string
	module           interface{ Settings() setting.Table }
}{
	{"assistant [<matcher>]", "", new(endpoint.Handler)},
	{"files [on | off]", "[off] in assistant", new(endpoint.Files)},
	{"provider openai [<label>]", "[openai] the label is its name in logs and metrics", new(providers.OpenAI)},
	{"provider demo [<label>]", "", new(providers.Demo)},
	{"store memory", "", new(stores.Memory)},
	{"broker nats <url...>", "", new(brokers.NATS)},
	{"assistant_chat [<matcher>]", "", new(chatpage.ChatPage)},
	{"asyncapi [<matcher>]", "", new(docs.AsyncAPI)},
}

const settingsBegin, settingsEnd = "<!-- made by go test ./caddymodule -run TestSettingsPage -update -->\n```caddyfile\n", "```\n"

// TestSettingsPage holds that docs/settings.md lists the settings as the tables have them.
func TestSettingsPage(t *testing.T) {
	const file = "../docs/settings.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(data), settingsBegin)
	found, after, ended := strings.Cut(rest, settingsEnd)
	if !begun || !ended {
		t.Fatalf("%s has no list of settings", file)
	}
	var blocks []string
	for _, d := range modules {
		heading := d.heading + " {"
		if d.comment != "" {
			heading += " # " + d.comment
		}
		blocks = append(blocks, heading+"\n"+listed(d.module.Settings())+"}\n")
	}
	want := strings.Join(blocks, "\n")
	switch {
	case found == want:
	case *caddytest.Update:
		if err := os.WriteFile(file, []byte(before+settingsBegin+want+settingsEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("rewrite with -update; want\n%s", want)
	}
}

// listed writes a table for docs/settings.md, each group of rows in columns.
func listed(table setting.Table) string {
	var groups []string
	for _, group := range table {
		var names, syntaxes int
		for _, row := range group {
			names = max(names, utf8.RuneCountInString(row.Name))
			syntaxes = max(syntaxes, utf8.RuneCountInString(row.Value.Takes))
		}
		var b strings.Builder
		for _, row := range group {
			line := fmt.Sprintf("\t%-*s %-*s %s", names, row.Name, syntaxes, row.Value.Takes, remark(row))
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		groups = append(groups, b.String())
	}
	return strings.Join(groups, "\n")
}

func remark(row setting.Row) string {
	without := row.Default + row.Without
	if without != "" {
		without = "[" + without + "]"
	}
	text := strings.TrimSpace(without + " " + row.Help)
	if text == "" {
		return ""
	}
	return "# " + text
}

// TestSettings holds that each table and the JSON fields of its module are the same settings: each row sets the
// field of its name, and what that field's comment calls the default is the table's.
func TestSettings(t *testing.T) {
	for _, d := range modules {
		t.Run(d.heading, func(t *testing.T) {
			fields := jsonFields(t, reflect.ValueOf(d.module).Elem())
			delete(fields, "label") // which stands before the block
			delete(fields, "urls")  // the same
			delete(fields, "off")   // the same
			for _, group := range d.module.Settings() {
				for _, row := range group {
					name := row.Name
					if name == "provider" { // one a line, but a list in JSON
						name = "providers"
					}
					f, ok := fields[name]
					if !ok || f.pointer != row.Value.Field {
						t.Errorf("%s does not set the JSON field of its name", row.Name)
						continue
					}
					delete(fields, name)
					if row.Default != "" && row.Without != "" {
						t.Errorf("%s has a default twice", row.Name)
					}
					f.checkDefault(t, d.module, row)
				}
			}
			for name := range fields {
				t.Errorf("the JSON field %s has no row", name)
			}
		})
	}
}

// field is a JSON field of a module.
type field struct {
	pointer any
	comment string
	foreign bool // of a package that knows no Caddyfile, and may write numbers in its own way
}

func (f field) checkDefault(t *testing.T, module interface{ Settings() setting.Table }, row setting.Row) {
	t.Helper()
	said, ok := f.defaultSaid()
	meant := f.defaultMeant(t, module, row)
	switch {
	case !ok && row.Default != "":
		t.Errorf("%s: its comment does not say that the default is %s", row.Name, row.Default)
	case f.foreign && !strings.Contains(compact.Replace(said), row.Default):
		t.Errorf("%s: its comment says %q, its row %q", row.Name, said, row.Default)
	case ok && !f.foreign && said != meant:
		t.Errorf("%s: its comment says %q, its row %q", row.Name, said, meant)
	}
}

var compact = strings.NewReplacer(" ", "", ",", "")

var defaultClause = regexp.MustCompile(`(?s)Default: (.*?)\.?\s*$`)

// defaultSaid returns the default in the field's comment, which ends with it.
func (f field) defaultSaid() (string, bool) {
	found := defaultClause.FindStringSubmatch(f.comment)
	if found == nil {
		return "", false
	}
	return strings.Join(strings.Fields(found[1]), " "), true
}

// defaultMeant returns what the comment has to say: the row's words, or where the JSON has another form of them,
// that with the row's in parentheses.
func (f field) defaultMeant(t *testing.T, module interface{ Settings() setting.Table }, row setting.Row) string {
	t.Helper()
	if err := module.Settings().SetDefaults(); err != nil {
		t.Fatal(err)
	}
	words := strings.Trim(row.Default+row.Without, `"`)
	value, err := json.Marshal(f.pointer)
	if err != nil {
		t.Fatal(err)
	}
	switch f.pointer.(type) {
	case *bool:
		return string(value)
	case *int, *int64:
		if row.Default != "" && string(value) != words {
			return fmt.Sprintf("%s (%s)", value, words)
		}
	}
	return words
}

// jsonFields returns the JSON fields of a module, embedded ones too.
func jsonFields(t *testing.T, module reflect.Value) map[string]field {
	t.Helper()
	fields := map[string]field{}
	for _, f := range reflect.VisibleFields(module.Type()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		owner := module.Type()
		if len(f.Index) > 1 {
			owner = owner.FieldByIndex(f.Index[:len(f.Index)-1]).Type
		}
		pointer := module.FieldByIndex(f.Index).Addr().Interface()
		if _, shadowed := fields[name]; !shadowed || len(f.Index) == 1 {
			foreign := !strings.Contains(owner.PkgPath(), "/caddymodule")
			fields[name] = field{pointer, comment(t, owner, f.Name), foreign}
		}
	}
	return fields
}

// comment returns that of a struct's field, from its source.
func comment(t *testing.T, owner reflect.Type, name string) string {
	t.Helper()
	folder := "../" + strings.TrimPrefix(owner.PkgPath(), "github.com/caddy-assistant/caddy-assistant/")
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), folder+"/"+file.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		text, found := "", false
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != owner.Name() {
				return true
			}
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				if len(f.Names) == 1 && f.Names[0].Name == name {
					text, found = f.Doc.Text(), true
				}
			}
			return false
		})
		if found {
			return text
		}
	}
	t.Fatalf("no source of %s.%s", owner, name)
	return ""
}

// TestExampleIsFormatted holds that the example starts without a warning, and stays so when its user formats it.
func TestExampleIsFormatted(t *testing.T) {
	data, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, differs := caddyfile.FormattingDifference("Caddyfile.example", data); differs {
		t.Error("caddy fmt --overwrite Caddyfile.example has something to do")
	}
}
