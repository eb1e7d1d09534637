package caddymodule

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// scrape reads the metrics of the configuration that runs, by name and labels.
func (s *site) scrape() map[string]string {
	s.t.Helper()
	address := fmt.Sprintf("http://127.0.0.1:%d/metrics", s.port)
	res, err := http.Get(address)
	for try := 0; err != nil && try < 10; try++ { // see dial
		res, err = http.Get(address)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	found := map[string]string{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "} "); ok {
			found[name+"}"] = value
		}
	}
	return found
}

// fresh is a handler's name that no test has used: metrics live as long as the process.
func fresh() string { return fmt.Sprint("fresh_", names.Add(1)) }

var names atomic.Int64

// TestMetricsReload holds that the metrics keep their values over reloads, are visible in each new
// configuration, and go on for sockets that are older than it.
func TestMetricsReload(t *testing.T) {
	s, name := newSite(t), fresh()
	config := handler("model m\n pieces 3", "max_connections 2\n name "+name) + "metrics /metrics\n"
	s.mustLoad(config)
	c := s.dial("user=ann")
	for i := range 3 {
		c.send(`{"action":"assistant_message","payload":"count","ref":"1"}`)
		if _, _, _, err := c.answer(); err != nil {
			t.Fatal(err)
		}
		s.mustLoad(config)
		c.send(`{"action":"list_conversations","ref":"l"}`)
		c.until("conversations")
		found := s.scrape()
		for series, want := range map[string]int{
			"open_sockets{handler=NAME}":     1,
			"running_answers{handler=NAME}":  0,
			"queued_questions{handler=NAME}": 0,
			`answers_total{finish_reason="stop",handler=NAME,model="m",provider="counting"}`: i + 1,
			`pieces_total{handler=NAME,model="m",provider="counting"}`:                       4 * (i + 1),
			`first_piece_seconds_count{handler=NAME,model="m",provider="counting"}`:          i + 1,
			`answer_duration_seconds_count{handler=NAME,model="m",provider="counting"}`:      i + 1,
			`store_duration_seconds_count{handler=NAME,operation="list",store="memory"}`:     i + 1,
			`store_errors_total{handler=NAME,operation="list",store="memory"}`:               0,
			`tokens_total{handler=NAME,model="m",provider="counting",type="output"}`:         2 * (i + 1),
		} {
			series = strings.Replace("caddy_assistant_"+series, "NAME", strconv.Quote(name), 1)
			if got := found[series]; got != fmt.Sprint(want) {
				t.Errorf("reload %d: %s = %q, want %d", i, series, got, want)
			}
		}
	}
	for i, query := range []string{"user=ann&conversation=x", "user=bob", "user=cid"} {
		if conn, status, _ := s.tryDial(query, nil); (conn != nil) != (i == 1) {
			t.Errorf("%s: %d", query, status)
		}
	}
	found := s.scrape()
	for _, reason := range []string{"not_found", "max_connections"} {
		if got := found[fmt.Sprintf(`caddy_assistant_refused_upgrades_total{handler=%q,reason=%q}`, name, reason)]; got != "1" {
			t.Errorf("upgrades refused for %s = %q, want 1", reason, got)
		}
	}
}

// metric is what a collector says of itself.
type metric struct {
	name, kind, help string
	labels           []string
}

var description = regexp.MustCompile(`fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)", .*variableLabels: \{([^}]*)\}`)

// described are the metrics, in the order of their definition.
func described(t *testing.T) (metrics []metric) {
	t.Helper()
	for _, c := range collectors {
		descs := make(chan *prometheus.Desc, 1)
		c.Describe(descs)
		found := description.FindStringSubmatch((<-descs).String())
		if found == nil {
			t.Fatalf("%T does not describe itself", c)
		}
		m := metric{name: found[1], help: found[2], labels: strings.Split(found[3], ",")}
		switch c.(type) {
		case *prometheus.GaugeVec, *healthCollector:
			m.kind = "gauge"
		case *prometheus.CounterVec:
			m.kind = "counter"
		case *prometheus.HistogramVec:
			m.kind = "histogram"
		}
		metrics = append(metrics, m)
	}
	return metrics
}

// lintHub is a hub with a provider, for a metric that shows when there is one.
func lintHub(t *testing.T) *pooledHub {
	chain, err := assistant.NewChain(nil, babbling{})
	if err != nil {
		t.Fatal(err)
	}
	hub := assistant.NewHub(nil, nil)
	hub.Use(assistant.New(hub, assistant.Config{Provider: chain}))
	h := &pooledHub{Hub: hub, key: hubKey{handler: "lint"}}
	t.Cleanup(func() { providersHealthy.remove(h) })
	return h
}

// TestProvidersHealthy shows a provider that fails, and the one that answers instead, over a reload.
func TestProvidersHealthy(t *testing.T) {
	s, name := newSite(t), fresh()
	config := "assistant /ws/* {\n name " + name + "\n provider openai down {\n base_url http://127.0.0.1:1/v1\n model m\n max_retries 0\n }\n provider counting {\n model spare\n pieces 1\n }\n}\nmetrics /metrics\n"
	s.mustLoad(config)
	series := func(provider, model string) string {
		return s.scrape()[fmt.Sprintf(`caddy_assistant_providers_healthy{handler=%q,model=%q,provider=%q}`, name, model, provider)]
	}
	if got := series("down", "m"); got != "1" {
		t.Errorf("at first %q, want 1", got)
	}
	c := s.dial("")
	for range 5 { // the fourth and the fifth do not ask it
		c.send(`{"action":"assistant_message","payload":"x","ref":"1"}`)
		if _, _, _, err := c.answer(); err != nil {
			t.Fatal(err)
		}
	}
	if down, spare := series("down", "m"), series("counting", "spare"); down != "0" || spare != "1" {
		t.Errorf("after five questions %q and %q, want 0 and 1", down, spare)
	}
	found := s.scrape()
	for metric, want := range map[string]string{
		`provider_errors_total{handler=NAME,model="m",provider="down",reason="provider_unavailable"}`: "3",
		`fallbacks_total{handler=NAME,model="spare",provider="counting"}`:                             "5",
	} {
		if got := found[strings.Replace("caddy_assistant_"+metric, "NAME", strconv.Quote(name), 1)]; got != want {
			t.Errorf("%s = %q, want %s", metric, got, want)
		}
	}
	if s.load("assistant /ws/* {\n name "+name+"\n store sqlite /proc/none/chat.db\n provider demo\n}\n") == nil {
		t.Error("a store that cannot be opened was taken")
	}
	if got := series("down", "m"); got != "0" {
		t.Errorf("after a configuration that was refused %q, want 0", got)
	}
	v, _ := hubs.LoadOrStore(hubKey{name, "memory of " + name}, nil)
	hub := v.(*pooledHub)
	hub.release()
	s.mustLoad("metrics /metrics\n")
	<-hub.gone
	if got := series("down", "m"); got != "" {
		t.Errorf("the handler is gone, and its provider is %q", got)
	}
}

// TestMetricsLint holds Prometheus's rules for names and helps.
func TestMetricsLint(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for range 2 {
		if err := registerMetrics(registry); err != nil {
			t.Fatal(err)
		}
	}
	lint := prometheus.Labels{"handler": "lint"}
	providersHealthy.add(lintHub(t))
	for i, m := range described(t) {
		values := append([]string{"lint"}, make([]string, len(m.labels)-1)...)
		switch c := collectors[i].(type) { // a metric shows when it has a child
		case *prometheus.GaugeVec:
			c.WithLabelValues(values...)
			defer c.DeletePartialMatch(lint)
		case *prometheus.CounterVec:
			c.WithLabelValues(values...)
			defer c.DeletePartialMatch(lint)
		case *prometheus.HistogramVec:
			c.WithLabelValues(values...)
			defer c.DeletePartialMatch(lint)
		}
	}
	families, err := registry.Gather()
	if err != nil || len(families) != len(collectors) {
		t.Fatalf("%d metrics, want %d (%v)", len(families), len(collectors), err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

const tableBegin, tableEnd = "<!-- made by go test ./caddymodule -run TestMetricsTable -update -->\n", "<!-- end -->\n"

// TestMetricsTable holds that the manual lists the metrics as they are.
func TestMetricsTable(t *testing.T) {
	const file = "../docs/operate.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableBegin)
	found, after, end := strings.Cut(rest, tableEnd)
	if !ok || !end {
		t.Fatalf("%s has no table of metrics", file)
	}
	var want strings.Builder
	want.WriteString("| metric | kind | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range described(t) {
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(m.labels, ", "), m.help)
	}
	switch {
	case found == want.String():
	case *update:
		if err := os.WriteFile(file, []byte(before+tableBegin+want.String()+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("rewrite with -update; want\n%s", &want)
	}
}

var (
	queried  = regexp.MustCompile(`(caddy_assistant_\w+)(?:\{([^}]*)\})?`)
	selector = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
)

// TestDashboard holds that the dashboard shows each metric, and nothing that there is not.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	metrics := described(t)
	shown := map[string]bool{}
	queries := 0
	for _, query := range queriesOf(dashboard) {
		queries++
		var allowed []string
		for _, found := range queried.FindAllStringSubmatch(query, -1) {
			i := slices.IndexFunc(metrics, func(m metric) bool { return m.names(found[1]) })
			if i < 0 {
				t.Errorf("there is no %s: %s", found[1], query)
				continue
			}
			shown[metrics[i].name] = true
			allowed = append(allowed, metrics[i].labels...)
			for _, s := range selector.FindAllStringSubmatch(found[2], -1) {
				if !slices.Contains(metrics[i].labels, s[1]) {
					t.Errorf("%s has no label %s: %s", found[1], s[1], query)
				}
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(query, -1) {
			for label := range strings.SplitSeq(by[1], ",") {
				if label = strings.TrimSpace(label); label != "le" && !slices.Contains(allowed, label) {
					t.Errorf("no label %s: %s", label, query)
				}
			}
		}
	}
	for _, m := range metrics {
		if !shown[m.name] {
			t.Errorf("%s is not on the dashboard", m.name)
		}
	}
	if queries < 10 {
		t.Errorf("found only %d queries", queries)
	}
}

// names tells whether a series belongs to the metric.
func (m metric) names(series string) bool {
	if m.kind != "histogram" {
		return series == m.name
	}
	suffix, ok := strings.CutPrefix(series, m.name)
	return ok && slices.Contains([]string{"_bucket", "_sum", "_count"}, suffix)
}

// queriesOf finds the queries of panels and variables.
func queriesOf(v any) (queries []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			queries = append(queries, queriesOf(e)...)
		}
	case map[string]any:
		for key, e := range v {
			if text, ok := e.(string); ok && (key == "expr" || key == "query" && strings.Contains(text, "(")) {
				queries = append(queries, text)
			} else {
				queries = append(queries, queriesOf(e)...)
			}
		}
	}
	return queries
}
