package bench

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// serveFloor is the role of the floor: a server that copies bytes between a client and $UPSTREAM and looks at none
// of them. Less than one read and one write a piece nobody can do without making pieces wait. For clients that only
// want a WebSocket it answers their handshake.
func serveFloor() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening at", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go relay(conn, os.Getenv("UPSTREAM"))
	}
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// relay serves one client.
func relay(client net.Conn, addr string) {
	defer client.Close()
	buffer := make([]byte, 4<<10)
	n, err := client.Read(buffer)
	if bytes.HasPrefix(buffer[:n], []byte("GET ")) {
		_, _ = io.WriteString(client, switching)
		n, err = client.Read(buffer)
	}
	if err != nil {
		return
	}
	upstream, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer upstream.Close()
	var answers sync.WaitGroup
	defer answers.Wait()
	answers.Go(func() {
		defer client.Close()
		carry(client, upstream, make([]byte, 32<<10))
	})
	if _, err = upstream.Write(buffer[:n]); err == nil {
		carry(upstream, client, buffer)
	}
	upstream.Close() // ends the answers
}

// carry copies until either side ends, by reads and writes: io.Copy would take more system calls for small pieces,
// since it splices.
func carry(to, from net.Conn, buffer []byte) {
	for {
		n, err := from.Read(buffer)
		if _, failed := to.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}
