package mcp

import (
	"context"
	"net/http"
	"os/exec"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

// session is a session with the server. Calls share it.
type session struct {
	*sdk.ClientSession
	connection sdk.Connection // beneath it
	program    *exec.Cmd      // that it is with; nil = none
	once       sync.Once

	// under Source.mu
	listed  bool // it was asked for the list, which the SDK needs for calls
	users   int  // calls under way
	retired bool // no more calls; it is closed when users is 0
}

// connect opens a session. Afterwards changed is called whenever the server says that its list has changed.
func (s *Source) connect(ctx context.Context, header http.Header, changed func()) (*session, error) {
	client := sdk.NewClient(&sdk.Implementation{Name: "caddy-assistant", Version: s.version}, &sdk.ClientOptions{
		Capabilities: &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{
			Form: &sdk.FormElicitationCapabilities{}, URL: &sdk.URLElicitationCapabilities{},
		}},
		MultiRoundTrip:              &sdk.MultiRoundTripOptions{Disabled: true},
		ProgressNotificationHandler: func(_ context.Context, req *sdk.ProgressNotificationClientRequest) { s.progress.tell(req.Params) },
		ToolListChangedHandler:      func(context.Context, *sdk.ToolListChangedRequest) { changed() },
	})
	client.AddSendingMiddleware(offerNothingToOldServers)
	transport, program := s.newTransport(header)
	kept := &keptTransport{Transport: transport}
	opened, err := client.Connect(ctx, kept, nil)
	if err != nil {
		if kept.connection != nil { // the SDK leaves it open where it was about to listen
			end(kept.connection, program)
		}
		return nil, err
	}
	return &session{ClientSession: opened, connection: kept.connection, program: program}, nil
}

// offerNothingToOldServers takes elicitation out of the older protocols' greeting: they would ask with a request that
// waits for the person. The newer protocol has no such greeting.
func offerNothingToOldServers(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
		if params, ok := req.GetParams().(*sdk.InitializeParams); ok {
			params.Capabilities.Elicitation = nil
		}
		return next(ctx, method, req)
	}
}

// newTransport returns the transport to the server, and the program where it is one.
func (s *Source) newTransport(header http.Header) (sdk.Transport, *exec.Cmd) {
	if s.http == nil {
		program := s.newProgram()
		return &sdk.CommandTransport{Command: program, TerminateDuration: terminateAfter}, program
	}
	return &sdk.StreamableClientTransport{
		Endpoint:             s.url,
		HTTPClient:           &http.Client{Transport: &tripper{s.http, header, s.tokens}, CheckRedirect: outbound.Stay},
		DisableStandaloneSSE: true,
		MaxEventSize:         outbound.MaxResponse,
	}, nil
}

// keptTransport keeps the connection, to close it even where the SDK waits.
type keptTransport struct {
	sdk.Transport
	connection sdk.Connection
}

func (t *keptTransport) Connect(ctx context.Context) (sdk.Connection, error) {
	connection, err := t.Transport.Connect(ctx)
	t.connection = connection
	return connection, err
}

// end closes the connection, calls under way or not, and waits until the program has ended.
func (s *session) end() {
	s.once.Do(func() {
		end(s.connection, s.program)
		_ = s.Close() // ends what the SDK listens to
	})
}

func end(connection sdk.Connection, program *exec.Cmd) {
	_ = connection.Close()
	if program != nil {
		killGroup(program)
	}
}
