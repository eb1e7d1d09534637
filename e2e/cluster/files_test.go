package cluster

import (
	"bytes"
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
	dial := func(n int, id string) *harness.Client {
		client := harness.DialPath(t, c.Nodes[n].Caddy, "/ws/seeing/?user=ann")
		client.Send(fmt.Sprintf(`{"action":"subscribe","topic":"conversation:%s","ref":"s"}`, id))
		client.Until("snapshot")
		return client
	}
	first := harness.DialPath(t, c.Nodes[0].Caddy, "/ws/seeing/?user=ann")
	conversation := first.Create()
	tabs := []*harness.Client{dial(0, conversation), dial(1, conversation)}
	want := 0
	for round := range 4 {
		at, other := round%2, 1-round%2
		status, id := c.Nodes[other].Upload("/ws/seeing/files?user=ann&name=a.png", picture.Bytes())
		if status != http.StatusCreated {
			t.Fatalf("%d: %s", status, id)
		}
		for n, node := range c.Nodes {
			for user, status := range map[string]int{"ann": http.StatusOK, "bob": http.StatusNotFound, "": http.StatusNotFound} {
				if res, _ := node.Get(t, "/ws/seeing/files/"+id+"?user="+user); res.StatusCode != status {
					t.Errorf("node %d answers %q with %d, want %d", n, user, res.StatusCode, status)
				}
			}
		}
		tabs[at].Send(fmt.Sprintf(`{"action":"send_message","payload":{"content":"What?","parts":[{"type":"image","file_id":%q}]},"topic":"conversation:%s","ref":"q%d"}`, id, conversation, round))
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
