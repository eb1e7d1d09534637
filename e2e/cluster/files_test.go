package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestFilesAmongNodes: a file that was uploaded at one node can be seen, asked about and is forwarded at others, and only by
// its owner.
func TestFilesAmongNodes(t *testing.T) {
	t.Parallel()
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces(fmt.Sprint(bytes.Count(call.Body, []byte("data:image/jpeg;base64,"))), " images")
		call.Finish()
	})
	c := harness.StartCluster(t, harness.ClusterConfig{Nodes: 2, Assistants: []harness.Assistant{
		{Name: "seeing", Path: "/ws/seeing/", Upstream: upstream.URL, Settings: "files\nprovider openai eyes {\nbase_url " + upstream.URL + "\naccepts image\n}"},
	}})
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 20, 10))); err != nil {
		t.Fatal(err)
	}
	upload := func(n int) string {
		res, err := http.Post(c.Nodes[n].URL("/ws/seeing/files?user=ann&name=a.png"), "", bytes.NewReader(picture.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var body struct {
			ID string `json:"file_id"`
		}
		if err := json.NewDecoder(res.Body).Decode(&body); err != nil || res.StatusCode != http.StatusCreated {
			t.Fatalf("%d: %v", res.StatusCode, err)
		}
		return body.ID
	}
	dial := func(n int, id string) *harness.Client {
		client := harness.DialPath(t, c.Nodes[n].Caddy, "/ws/seeing/?user=ann")
		client.Send(fmt.Sprintf(`{"action":"subscribe","topic":"conversation:%s","ref":"s"}`, id))
		client.Until("snapshot")
		return client
	}
	first := harness.DialPath(t, c.Nodes[0].Caddy, "/ws/seeing/?user=ann")
	first.Send(`{"action":"create_conversation"}`)
	var created struct {
		ID string `json:"conversation_id"`
	}
	if err := json.Unmarshal(first.Next().Payload, &created); err != nil {
		t.Fatal(err)
	}
	tabs := []*harness.Client{dial(0, created.ID), dial(1, created.ID)}
	want := 0
	for round := range 4 {
		at, other := round%2, 1-round%2
		id := upload(other)
		for n, node := range c.Nodes {
			for user, status := range map[string]int{"ann": http.StatusOK, "bob": http.StatusNotFound, "": http.StatusNotFound} {
				if res, _ := node.Get(t, "/ws/seeing/files/"+id+"?user="+user); res.StatusCode != status {
					t.Errorf("node %d answers %q with %d, want %d", n, user, res.StatusCode, status)
				}
			}
		}
		tabs[at].Send(fmt.Sprintf(`{"action":"send_message","payload":{"content":"What?","parts":[{"type":"image","file_id":%q}]},"topic":"conversation:%s","ref":"q%d"}`, id, created.ID, round))
		want++
		for n, tab := range tabs {
			frames := tab.Until("complete_streaming")
			if got := harness.Answer(frames); got != fmt.Sprint(want, " images") {
				t.Errorf("round %d: node %d answered %q, want %d images", round, n, got, want)
			}
			if !strings.Contains(fmt.Sprint(frames), id) {
				t.Errorf("round %d: the question at node %d has no file", round, n)
			}
		}
	}
}
