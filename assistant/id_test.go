package assistant

import "testing"

func TestID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if !IsID(id) || id[14] != '4' || id[19] != '8' && id[19] != '9' && id[19] != 'a' && id[19] != 'b' || seen[id] {
			t.Fatalf("%s is no new UUID of version 4", id)
		}
		seen[id] = true
	}
	for _, text := range []string{"", "x", "5F9C1F0A-7F0E-4F0B-9D37-0F6F6C1B7A52", "{5f9c1f0a-7f0e-4f0b-9d37-0f6f6c1b7a52}", "5f9c1f0a7f0e4f0b9d370f6f6c1b7a52", "5f9c1f0a-7f0e-4f0b-9d37-0f6f6c1b7a52\n"} {
		if IsID(text) {
			t.Errorf("%q is taken for an id", text)
		}
	}
}
