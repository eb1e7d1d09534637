package caddymodule

import (
	"slices"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/prometheus/client_golang/prometheus"
)

// providersHealthy tells how the providers are when it is asked, so that nobody has to keep it up to date.
var providersHealthy = collected(&healthCollector{
	desc: prometheus.NewDesc("caddy_assistant_providers_healthy", "1 where a provider is asked, 0 where it is passed over since it failed.",
		[]string{"handler", "provider", "model"}, nil),
	hubs: map[string][]*pooledHub{},
})

type healthCollector struct {
	desc *prometheus.Desc

	mu   sync.Mutex
	hubs map[string][]*pooledHub // by handler; the last one counts
}

// add makes a hub the one of its handler, remove takes it back.
func (c *healthCollector) add(h *pooledHub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name := h.key.handler; !slices.Contains(c.hubs[name], h) {
		c.hubs[name] = append(c.hubs[name], h)
	}
}

func (c *healthCollector) remove(h *pooledHub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := h.key.handler
	c.hubs[name] = slices.DeleteFunc(c.hubs[name], func(other *pooledHub) bool { return other == h })
}

// Describe names the metric.
func (c *healthCollector) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect asks the newest settings of each handler.
func (c *healthCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, hubs := range c.hubs {
		if len(hubs) == 0 {
			continue
		}
		chain, ok := hubs[len(hubs)-1].Using().Provider.(*assistant.Chain)
		if !ok {
			continue
		}
		for _, h := range chain.Health() {
			healthy := 0.
			if h.State == assistant.CircuitClosed {
				healthy = 1
			}
			to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, healthy, name, h.Provider, h.Model)
		}
	}
}

var _ prometheus.Collector = (*healthCollector)(nil)
