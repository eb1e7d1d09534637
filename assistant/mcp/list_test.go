package mcp

import (
	"fmt"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestListBounds expects that a list has bounds, and that names which two tools share are left out.
func TestListBounds(t *testing.T) {
	build := func(tools ...*sdk.Tool) *list {
		l := &list{theirs: map[string]string{}}
		b := listBuilder{list: l, label: "shop", choice: newChoice(Config{}), dropped: map[string]bool{}}
		for _, tool := range tools {
			tool.InputSchema = map[string]any{"type": "object"}
			b.add(tool)
		}
		return l
	}
	var many []*sdk.Tool
	for i := range maxTools + 5 {
		many = append(many, &sdk.Tool{Name: fmt.Sprint("tool", i)})
	}
	if l := build(many...); len(l.tools) != maxTools || len(l.theirs) != maxTools || len(l.faults) != 5 {
		t.Errorf("%d tools, %d faults", len(l.tools), len(l.faults))
	}
	half := strings.Repeat("x", maxListSize/2)
	if l := build(&sdk.Tool{Name: "a", Description: half}, &sdk.Tool{Name: "b", Description: half}, &sdk.Tool{Name: "c"}); len(l.tools) != 2 || l.tools[1].Name != "shop__c" {
		t.Errorf("%d tools, faults %q", len(l.tools), l.faults)
	}
	changed := strings.TrimPrefix(nameOf("shop", "a.b"), "shop__")
	for _, tools := range [][]*sdk.Tool{
		{{Name: "a.b"}, {Name: changed}, {Name: "c"}}, {{Name: "c"}, {Name: changed}, {Name: "a.b"}, {Name: "a.b"}},
	} {
		if l := build(tools...); len(l.tools) != 1 || l.tools[0].Name != "shop__c" || len(l.theirs) != 1 {
			t.Errorf("%d tools, faults %q", len(l.tools), l.faults)
		}
	}
	if l := build(&sdk.Tool{Name: "a", Description: "first"}, &sdk.Tool{Name: "a", Description: "second"}); len(l.tools) != 1 || l.tools[0].Description != "first" {
		t.Errorf("got %+v", l.tools)
	}
}
