package webchat

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestElement: what docs/element.md and the types say of the element is what its source has, no less and no more.
func TestElement(t *testing.T) {
	manual, err := os.ReadFile("../docs/element.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := sources(t)
	source, types := sources["src/assistant-chat.js"], sources["client/assistant-chat.d.ts"]
	looks, flags := quoted(source, `const looks = (.*);`), quoted(source, `const flags = (.*);`)
	members := found(source, `(?m)^  (?:get )?([a-z]\w*)\(`)
	members = slices.DeleteFunc(members, func(name string) bool { return strings.HasSuffix(name, "Callback") })
	_, events, _ := strings.Cut(types, "interface AssistantChatEvents {")
	events, declared, _ := strings.Cut(events, "interface AssistantChat ")
	properties, methods := found(declared, `(?m)^  (?:readonly )?(\w+): `), found(declared, `(?m)^  ([a-z]\w*)\(`)
	methods = slices.DeleteFunc(methods, func(name string) bool { return strings.HasSuffix(name, "EventListener") }) // every element's
	all := strings.Join(slices.Collect(maps.Values(sources)), "\n")
	for section, code := range map[string]map[string][]string{
		"Attributes":        {"the source": slices.Concat(quoted(source, `observedAttributes = (.*);`), looks, flags)},
		"Properties":        {"the types": properties},
		"Methods":           {"the types": methods},
		"Events":            {"the types": found(events, `(?m)^  (\w+): `), "the source": quoted(source, `#tell\(([^,)]+)`)},
		"Slots":             {"the source": slices.Concat([]string{"(default)"}, found(all, `\bslot\('(\w+)'`))},
		"Parts":             {"the source": quoted(all, `\bpart: (?:role[^?]*)?([^,}]+)`)},
		"Custom properties": {"the source": found(all, `var\((--assistant-[\w-]+)`)},
	} {
		documented := names(string(manual), section)
		for whose, wanted := range code {
			for _, name := range documented {
				if !slices.Contains(wanted, name) {
					t.Errorf("%s: %q is in the manual, but not in %s", section, name, whose)
				}
			}
			for _, name := range wanted {
				if !slices.Contains(documented, name) {
					t.Errorf("%s: %q is in %s, but not in the manual", section, name, whose)
				}
			}
		}
	}
	typed, own := set(slices.Concat(properties, methods)), set(slices.Concat(members, looks, flags, []string{"url"}))
	if !slices.Equal(typed, own) {
		t.Errorf("the types have %q, the source %q", typed, own)
	}
}

// names are in the first column of a section's table.
func names(manual, section string) []string {
	_, text, _ := strings.Cut(manual, "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var cells []string
	for _, cell := range found(text, "(?m)^\\| (`[^|]*)\\|") {
		cells = append(cells, found(cell, "`([^`(]+|\\([^`]*)(?:\\([^`]*)?`")...)
	}
	return cells
}

// found is what the pattern's group has in the text, everywhere.
func found(text, pattern string) []string {
	var all []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}

// quoted are the strings in what the pattern's group has.
func quoted(text, pattern string) []string {
	return found(strings.Join(found(text, pattern), "\n"), `'([\w-]+)'`)
}

func set(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
