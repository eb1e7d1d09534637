//go:build engines

package models

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// litellmKey is the one that litellm.yaml has.
const litellmKey = "sk-proxy-51c7e0"

// litellmMocks are what the models of litellm.yaml do, which nothing stands behind. LiteLLM mocks no stream of the
// Responses API.
var litellmMocks = []probe{
	{does: "A mock's answer", model: "mock", text: "A mocked answer, so that it streams.", ways: []string{"chat"}},
	{does: "A mock's `RateLimitError`", model: "mock-rate", ways: []string{"chat"}},
	{does: "A mock's `ContextWindowExceededError`", model: "mock-overflow", ways: []string{"chat"}},
	{does: "A mock's `InternalServerError`", model: "mock-internal", ways: []string{"chat"}},
	{does: "A mock's error of a content filter", model: "mock-filter", ways: []string{"chat"}},
	{does: "A mock's `Timeout`", model: "mock-timeout", ways: []string{"chat"}},
	{does: "Nothing is where the model should be", model: "dead"},
}

// TestLiteLLM asks LiteLLM's proxy, with aimock behind it and with its own mocks.
func TestLiteLLM(t *testing.T) {
	a := startAimock(t)
	front := newFront(t, strings.TrimPrefix(startLiteLLM(t, a.url+"/v1"), "http://"))

	s := server{name: "LiteLLM", version: pinned(t, "requirements.txt", "litellm"), key: litellmKey, ways: []way{
		{title: "chat", prefix: "openai/", settings: "base_url " + front.URL + "/v1\napi_key KEY"},
		{title: "Responses", prefix: "openai/", settings: "base_url " + front.URL + "/v1\napi responses\napi_key KEY"},
		{title: "Responses, translated from chat", prefix: "lm_studio/", settings: "base_url " + front.URL + "/v1\napi responses\napi_key KEY"},
		{title: "Responses, asked for whole", prefix: "hosted_vllm/", settings: "base_url " + front.URL + "/v1\napi responses\napi_key KEY"},
	}, probes: litellmMocks}
	for _, f := range aimockFixtures {
		s.probes = append(s.probes, f.probe)
	}
	behind := a.watcher(nil)
	behind.who, behind.deaf = "the model behind it", []string{"Responses, asked for whole"}
	s.watchers = []watcher{{who: "LiteLLM", watch: front.watch}, behind}
	s.run(t)
}

// startLiteLLM runs LiteLLM's proxy in front of a model, and returns its URL.
func startLiteLLM(t *testing.T, model string) string {
	t.Helper()
	addr := harness.FreeAddr(t)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(engines(t), "venv", "bin", "litellm")
	cmd := exec.Command(program, "--config", "litellm.yaml", "--host", host, "--port", port)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LITELLM_LOCAL_MODEL_COST_MAP=True",
		"AIMOCK=" + model, "AIMOCK_KEY=" + aimockKey, "DEAD=http://" + harness.FreeAddr(t) + "/v1",
	}
	harness.StartPeer(t, cmd, func(line string) bool { return strings.Contains(line, "Uvicorn running on") })
	return "http://" + addr
}

// front passes everything on to a server, and knows which requests have been given up.
type front struct {
	*httptest.Server
	gone chan struct{}
}

func newFront(t *testing.T, addr string) front {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	proxy.FlushInterval = -1
	f := front{gone: make(chan struct{}, 1000)}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer context.AfterFunc(r.Context(), func() { f.gone <- struct{}{} })()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f front) watch(string) func(context.Context) error {
	for len(f.gone) > 0 {
		<-f.gone
	}
	return func(ctx context.Context) error {
		select {
		case <-f.gone:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
