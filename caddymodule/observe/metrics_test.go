package observe

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

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
func lintHub(t *testing.T) *conversation.Hub {
	chain, err := chain.New(nil, babbling{})
	if err != nil {
		t.Fatal(err)
	}
	hub := conversation.NewHub(nil, nil)
	hub.Use(conversation.New(hub, conversation.Config{Provider: chain, Observer: New("lint", "memory", NewEmitter(nil))}))
	t.Cleanup(func() { ProvidersHealthy.Remove(hub) })
	return hub
}

// TestMetricsLint holds Prometheus's rules for names and helps.
func TestMetricsLint(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for range 2 {
		if err := Register(registry); err != nil {
			t.Fatal(err)
		}
	}
	lint := prometheus.Labels{"handler": "lint"}
	ProvidersHealthy.Add(lintHub(t))
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

const tableBegin, tableEnd = "<!-- made by go test ./caddymodule/observe -run TestMetricsTable -update -->\n", "<!-- end -->\n"

// TestMetricsTable holds that the manual lists the metrics as they are.
func TestMetricsTable(t *testing.T) {
	const file = "../../docs/operate.md"
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
	case *caddytest.Update:
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
	data, err := os.ReadFile("../../docs/grafana.json")
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
				if label = strings.TrimSpace(label); label != "le" && label != "instance" && !slices.Contains(allowed, label) {
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

// names reports whether a series belongs to the metric.
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
