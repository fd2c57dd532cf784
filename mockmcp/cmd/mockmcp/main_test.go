package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		args string
		want config
		err  string
	}{
		{"", config{"http", "127.0.0.1:9000", slog.LevelInfo}, ""},
		{"--transport sse --host 0.0.0.0 --port 8080 --log-level debug", config{"sse", "0.0.0.0:8080", slog.LevelDebug}, ""},
		{"-transport=http -host ::1 -port=0 -log-level=error", config{"http", "[::1]:0", slog.LevelError}, ""},
		{"--host [::1] --log-level warn", config{"http", "[::1]:9000", slog.LevelWarn}, ""},
		{"--transport stdio", config{}, `--transport "stdio": choose http or sse`},
		{"--host=", config{}, `--host "": give an address`},
		{"--host http://localhost", config{}, `--host "http://localhost": give an address`},
		{"--port 65536", config{}, `--port "65536": choose a number from 0 to 65535`},
		{"--port -1", config{}, `--port "-1": choose a number`},
		{"--port http", config{}, `--port "http": choose a number`},
		{"--port", config{}, "flag needs an argument: -port"},
		{"--log-level loud", config{}, `--log-level "loud": choose debug, info, warn or error`},
		{"--verbose", config{}, "flag provided but not defined: -verbose"},
		{"serve", config{}, `unexpected argument "serve"`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			got, err := parse(strings.Fields(tt.args))
			if tt.err == "" {
				if err != nil || got != tt.want {
					t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			var out, errOut bytes.Buffer
			if code := run(t.Context(), strings.Fields(tt.args), &out, &errOut); code != exitUsage || out.Len() > 0 {
				t.Errorf("exit code %d, output %q", code, out.String())
			}
			if lines := strings.Count(errOut.String(), "\n"); lines != 1 || !strings.HasPrefix(errOut.String(), "mockmcp: ") {
				t.Errorf("message is not one line: %q", errOut.String())
			}
		})
	}
}

func TestHelp(t *testing.T) {
	if _, err := parse([]string{"--help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error %v", err)
	}
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &out, &errOut); code != exitOK || errOut.Len() > 0 {
		t.Errorf("exit code %d, %q", code, errOut.String())
	}
	for _, name := range []string{"--transport", "--host", "--port", "--log-level", "--help"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("help lacks %s", name)
		}
	}
}

func TestBusyPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	var errOut bytes.Buffer
	code := run(t.Context(), []string{"--port", port}, io.Discard, &errOut)
	want := "mockmcp: 127.0.0.1:" + port + " is in use: stop the other program, or choose another --port\n"
	if code != exitFailed || errOut.String() != want {
		t.Errorf("exit code %d, %q, want %q", code, errOut.String(), want)
	}
}

func TestAddressOfAnotherMachine(t *testing.T) {
	var errOut bytes.Buffer
	// 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
	code := run(t.Context(), []string{"--host", "192.0.2.1"}, io.Discard, &errOut)
	if code != exitFailed || !strings.HasPrefix(errOut.String(), "mockmcp: can't listen on 192.0.2.1:9000: ") {
		t.Errorf("exit code %d, %q", code, errOut.String())
	}
}

func TestRunUntilStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	logReader, logWriter := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"--port", "0", "--transport", "sse"}, io.Discard, logWriter)
		_ = logWriter.Close()
	}()
	line := make([]byte, 1000)
	n, err := logReader.Read(line) // the handler writes whole lines
	if err != nil {
		t.Fatal(err)
	}
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(string(line[:n]))
	resp, err := http.Get(url + "/health")
	if err != nil {
		t.Fatalf("first line %q: %v", line[:n], err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !strings.Contains(string(body), `"transport":"sse"`) {
		t.Errorf("health %s, %v", body, err)
	}
	stop()
	if rest, err := io.ReadAll(logReader); err != nil || !strings.Contains(string(rest), "mockmcp has stopped") {
		t.Errorf("log %q, %v", rest, err)
	}
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
