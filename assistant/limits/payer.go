package limits

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Payer is whom limits count: a user, or the network of an anonymous client.
type Payer struct {
	user    string
	network netip.Prefix // the zero Prefix for all anonymous clients without an IP address
}

// String returns the user's name, or the network.
func (p Payer) String() string {
	if p.user != "" {
		return p.user
	}
	return p.network.String()
}

// notUser begins the keys that are not just the name of a user.
const notUser = "\x01"

// key returns what the payer is called in a ledger. A user's name is itself. A network, and a name that a store could not
// keep, are not any user's name: they begin with a control character.
func (p Payer) key() string {
	switch {
	case p.user == "":
		return notUser + p.network.String()
	case strings.HasPrefix(p.user, notUser), strings.Contains(p.user, "\x00"), !utf8.ValidString(p.user):
		return notUser + strconv.QuoteToASCII(p.user)
	}
	return p.user
}

// Networks says what the network of an anonymous client is. An IPv4 address is one. Of an IPv6 address the first
// Prefix bits name a network: its hosts choose the others as they like. As some sites have many of these networks, all
// that share the first Wider bits may together do Times as much as one of them, questions and changes; 0 Times is no
// such limit. The zero Networks is {64, 0, 0}.
type Networks struct{ Prefix, Wider, Times int }

// Client is whom the limits of one client count: its payer, and the wider network that the payer is in.
type Client struct {
	Payer Payer
	wider Payer
	times int // 0 = no wider network
}

// ClientOf returns whom limits count. user is "" where the client is anonymous.
func (n Networks) ClientOf(user string, addr netip.Addr) Client {
	if user != "" {
		return Client{Payer: Payer{user: user}}
	}
	addr = addr.Unmap()
	c := Client{Payer: Payer{network: prefix(addr, cmp.Or(n.Prefix, 64))}}
	if n.Times > 0 && addr.Is6() {
		c.wider, c.times = Payer{network: prefix(addr, n.Wider)}, n.Times
	}
	return c
}

// prefix returns so many bits of an IPv6 address, and all of any other.
func prefix(addr netip.Addr, bits int) netip.Prefix {
	if !addr.Is6() {
		bits = addr.BitLen()
	}
	network, _ := addr.Prefix(bits) // the zero Prefix for the zero Addr
	return network
}
