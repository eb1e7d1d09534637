package mcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

// OAuth is how a token for the server is got: by the client credentials grant (RFC 6749, section 4.4), one for all users.
type OAuth struct {
	// Where tokens are got, such as https://login.example.org/token. Required.
	TokenURL string `json:"token_url,omitempty"`
	// The client. Required.
	ClientID string `json:"client_id,omitempty"`
	// Its secret. It appears in no log and no error. Required.
	ClientSecret string `json:"client_secret,omitempty"`
	// What the token is for. Default: what the service gives
	Scopes []string `json:"scopes,omitempty"`
}

func (o *OAuth) validate(header map[string]string) error {
	if o == nil {
		return nil
	}
	_, err := outbound.ParseURL(o.TokenURL)
	if err != nil {
		err = errors.New("oauth: token_url: expected an http or https URL without user and fragment")
	}
	if o.ClientID == "" {
		err = errors.Join(err, errors.New("oauth: client_id: expected a value, found nothing"))
	}
	if o.ClientSecret == "" {
		err = errors.Join(err, errors.New("oauth: client_secret: expected a value, found nothing"))
	}
	for name := range header {
		if http.CanonicalHeaderKey(name) == "Authorization" {
			err = errors.Join(err, errors.New("oauth: expected no header Authorization beside it, found one"))
		}
	}
	return err
}

// tokens gets tokens and keeps them as long as they hold. It is safe for concurrent use; nil gets none.
type tokens struct {
	config clientcredentials.Config
	ctx    context.Context // of requests for tokens

	mu     sync.Mutex
	source oauth2.TokenSource // of the next token; nil = a new one
	latest string
	known  outbound.Secrets // the last tokens, which nobody must see
}

// maxKnown is how many tokens are kept out of what others read: later ones replace them.
const maxKnown = 8

func newTokens(ctx context.Context, o *OAuth, transport http.RoundTripper, client http.Client) *tokens {
	if o == nil {
		return nil
	}
	client.Transport, client.CheckRedirect = bounded{transport}, outbound.Stay
	return &tokens{
		config: clientcredentials.Config{ClientID: o.ClientID, ClientSecret: o.ClientSecret, TokenURL: o.TokenURL, Scopes: o.Scopes},
		ctx:    context.WithValue(ctx, oauth2.HTTPClient, &client),
	}
}

// header returns the value of the header Authorization. The error has no text of the service's.
func (t *tokens) header() (string, error) {
	t.mu.Lock()
	source := t.source
	if source == nil {
		source = t.config.TokenSource(t.ctx)
		t.source = source
	}
	t.mu.Unlock()
	token, err := source.Token()
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refusal.Response != nil {
		return "", fmt.Errorf("oauth: the service gives no token: status %d", refusal.Response.StatusCode)
	}
	if err != nil {
		return "", fmt.Errorf("oauth: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.latest != token.AccessToken {
		t.latest = token.AccessToken
		t.known = slices.Concat(outbound.NewSecrets(token.AccessToken), t.known)
		t.known = t.known[:min(len(t.known), maxKnown)]
	}
	return token.Type() + " " + token.AccessToken, nil
}

// refused forgets a token that the server does not take: the next request gets another one.
func (t *tokens) refused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.source = nil
}

// secrets returns what others must not see.
func (t *tokens) secrets() outbound.Secrets {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known
}

// bounded bounds what is read of responses.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err == nil {
		res.Body = outbound.Bounded(res.Body)
	}
	return res, err
}
