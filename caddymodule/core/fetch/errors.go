package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"

	"code.dny.dev/ssrf"
)

// Why a fetch failed, for errors.Is. The text of an error may name the host
// and is for the log; nothing in it was sent by the host, and it is never shown
// to a browser (SPEC E23).
var (
	// ErrURL says that the address is not one that is fetched.
	ErrURL = errors.New("the address is not one that is fetched")
	// ErrAddress says that the host is, or resolves to, a special-use address.
	ErrAddress = errors.New("the host resolves to an address that is not public")
	// ErrBusy says that too many fetches are under way.
	ErrBusy = errors.New("too many fetches are under way")
	// ErrTimeout says that the host took too long.
	ErrTimeout = errors.New("the host took too long")
	// ErrConnect says that there was no connection: no such name, nobody there.
	ErrConnect = errors.New("the host could not be reached")
	// ErrTLS says that the host could not prove its name.
	ErrTLS = errors.New("the host's certificate or TLS is not acceptable")
	// ErrProtocol says that what the host sent is not HTTP as it should be.
	ErrProtocol = errors.New("the host does not speak HTTP as expected")
	// ErrRedirect says that the host redirects.
	ErrRedirect = errors.New("the host redirects, which is not followed")
	// ErrStatus says that the status is not 200.
	ErrStatus = errors.New("the host does not answer with status 200")
	// ErrGone says that the host has no such document: status 404 or 410. It
	// is an ErrStatus as well.
	ErrGone = fmt.Errorf("%w: there is no such document", ErrStatus)
	// ErrEncoding says that the body is compressed, which was not asked for.
	ErrEncoding = errors.New("the host compresses what it sends")
	// ErrTooLarge says that the body is longer than allowed.
	ErrTooLarge = errors.New("the document is too large")
	// ErrInvalid says that the document is not what it should be.
	ErrInvalid = errors.New("the document is not valid")
	// ErrClosed says that the cache was closed.
	ErrClosed = errors.New("the cache is closed")
)

// classify turns an error of the transport into one of ours. Its text is
// dropped: it can quote what the host sent.
func classify(ctx context.Context, err error) error {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		alert        tls.AlertError
		hostname     x509.HostnameError
		authority    x509.UnknownAuthorityError
		lookup       *net.DNSError
		network      net.Error
		errno        syscall.Errno
	)
	switch {
	case errors.Is(err, ssrf.ErrProhibitedIP), errors.Is(err, ssrf.ErrProhibitedNetwork), errors.Is(err, ssrf.ErrInvalidHostPort):
		return ErrAddress
	case errors.Is(err, ssrf.ErrProhibitedPort):
		return fmt.Errorf("%w: the port", ErrURL)
	case errors.Is(context.Cause(ctx), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil, errors.As(err, &network) && network.Timeout():
		return ErrTimeout
	case errors.As(err, &hostname):
		return fmt.Errorf("%w: the certificate is for another name", ErrTLS)
	case errors.As(err, &authority):
		return fmt.Errorf("%w: the certificate is of no known authority", ErrTLS)
	case errors.As(err, &verification), errors.As(err, &record), errors.As(err, &alert):
		return ErrTLS
	case errors.As(err, &lookup):
		return fmt.Errorf("%w: its name does not resolve", ErrConnect)
	case errors.As(err, &errno):
		return fmt.Errorf("%w: %w", ErrConnect, errno)
	default:
		return ErrProtocol
	}
}
