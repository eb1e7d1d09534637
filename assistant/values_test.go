package assistant

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// TestValues: documents list each constant of the enumerations, and say what it means.
func TestValues(t *testing.T) {
	constants := constantsByType(t)
	constants["Reason"] = slices.DeleteFunc(constants["Reason"], func(r string) bool { return r == string(ReasonInvalid) })               // for observers only
	constants["FinishReason"] = slices.DeleteFunc(constants["FinishReason"], func(r string) bool { return r == string(FinishToolCalls) }) // for the engine only
	for _, enum := range []wire.Enum{FinishReason(""), NoticeReason(""), Role(""), Status(""), Reason(""), CallState("")} {
		name := reflect.TypeOf(enum).Name()
		var listed []string
		for value, meaning := range enum.Values() {
			listed = append(listed, value)
			if meaning == "" {
				t.Errorf("%s: nothing is said about %s", name, value)
			}
		}
		slices.Sort(listed)
		if slices.Sort(constants[name]); !slices.Equal(listed, constants[name]) {
			t.Errorf("%s: documents list %q, the constants are %q", name, listed, constants[name])
		}
	}
}

// constantsByType reads the string constants of this package's source.
func constantsByType(t *testing.T) map[string][]string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string][]string{}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				return true
			}
			kind, isNamed := spec.Type.(*ast.Ident)
			for _, v := range spec.Values {
				if literal, ok := v.(*ast.BasicLit); ok && isNamed && literal.Kind == token.STRING {
					text, _ := strconv.Unquote(literal.Value)
					constants[kind.Name] = append(constants[kind.Name], text)
				}
			}
			return true
		})
	}
	return constants
}
