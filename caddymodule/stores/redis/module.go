package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/store"
)

func init() {
	caddy.RegisterModule(new(Module))
}

const (
	defaultPrefix  = "mcp_auth"
	defaultWait    = 15 * time.Second
	defaultTimeout = 1500 * time.Millisecond
)

// pool holds the open stores by what they are opened with, so that a
// configuration reload shares the connections of the running configuration.
var pool = caddy.NewUsagePool()

// Module keeps grants, revocations, what was used up and the key ring on Redis
// or Valkey servers: one, one with replicas watched by Sentinels, or a Cluster.
// Any number of gateways may share the state.
//
// The servers must keep what they acknowledge: `appendonly yes` and
// `appendfsync always`. Without that a crash signs people out, and may bring
// back what was revoked. A `maxmemory-policy` that throws away keys without a
// time to live is refused.
type Module struct {
	// Addresses are `host:port` of the server, of nodes of the Cluster, or of the
	// Sentinels; or one URL such as `rediss://user@redis.example.com:6379/0`, where
	// `rediss` stands for TLS. Required. Global placeholders such as
	// `{env.REDIS_ADDRESS}` and `{file./run/secrets/redis}` are replaced, here and
	// in all other texts.
	Addresses []string `json:"addresses,omitempty"`
	// MasterName is what the Sentinels call the master, such as `mymaster`.
	// Addresses are those of the Sentinels then. Default: no Sentinels.
	MasterName string `json:"master_name,omitempty"`
	// Cluster says that the servers are a Redis Cluster. Default: `false`.
	Cluster bool `json:"cluster,omitempty"`
	// Username is the name of the ACL user, such as `gateway`. Default: the
	// server's default user.
	Username string `json:"username,omitempty"`
	// Password is the user's, such as `{env.REDIS_PASSWORD}`. Default: none.
	Password string `json:"password,omitempty"`
	// SentinelUsername is the name of the ACL user at the Sentinels. Default: their
	// default user.
	SentinelUsername string `json:"sentinel_username,omitempty"`
	// SentinelPassword is that user's. Default: none.
	SentinelPassword string `json:"sentinel_password,omitempty"`
	// Database is the number of the database. A Cluster has only 0. Default: `0`.
	Database int `json:"database,omitempty"`
	// Prefix begins all keys and the channel, so that several gateways with states
	// of their own can use one server: up to 64 letters, digits and `_ . : -`.
	// Default: `mcp_auth`.
	Prefix string `json:"prefix,omitempty"`
	// TLS encrypts the connections, also those to Sentinels. The other options of
	// TLS switch it on too. Default: `false`.
	TLS bool `json:"tls,omitempty"`
	// TLSCA is a PEM file with the certificate authorities to trust, read when the
	// configuration is loaded. Default: those of the system.
	TLSCA string `json:"tls_ca,omitempty"`
	// TLSCert and TLSKey are PEM files with the certificate and the key of this
	// client. They are read when the configuration is loaded. Default: none.
	TLSCert string `json:"tls_cert,omitempty"`
	TLSKey  string `json:"tls_key,omitempty"`
	// TLSServerName is the name that the server's certificate is for. Default: the
	// host of the address.
	TLSServerName string `json:"tls_server_name,omitempty"`
	// Wait is how long a start waits for a server that does not answer yet, such as
	// `1m`. Default: `15s`.
	Wait caddy.Duration `json:"wait,omitempty"`
	// Timeout is how long one step may take, with waiting for a connection and asking
	// again, before it counts as an outage, such as `3s`. Default: `1500ms`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	*Store `json:"-"`
	key    string // in the pool; empty unless this module holds a reference
}

// shared is an open store in the pool.
type shared struct{ *Store }

// Destruct implements [caddy.Destructor].
func (s shared) Destruct() error { return s.Close() }

// CaddyModule returns the Caddy module information.
func (*Module) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "mcp_auth.stores.redis",
		New: func() caddy.Module { return new(Module) },
	}
}

// Provision connects to the servers, or shares the connections of the
// configuration before.
func (m *Module) Provision(ctx caddy.Context) error {
	o, err := m.resolve()
	if err != nil {
		return err
	}
	wait := time.Duration(m.Wait)
	switch {
	case wait < 0:
		return errors.New("redis: wait is negative")
	case wait == 0:
		wait = defaultWait
	}
	key, err := o.fingerprint()
	if err != nil {
		return err
	}
	logger := ctx.Logger()
	value, loaded, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		limited, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		s, err := Open(limited, o, logger)
		if err != nil {
			return nil, err
		}
		return shared{s}, nil
	})
	if err != nil {
		return err // nothing was acquired: Cleanup has nothing to release
	}
	m.Store, m.key = value.(shared).Store, key
	logger.Info("store is open", zap.Strings("addresses", o.Addresses), zap.String("prefix", o.Prefix), zap.Bool("shared", loaded))
	return nil
}

// fingerprint names the options without telling the passwords. It goes by what is
// in the files, too: a certificate is renewed under its old name.
func (o Options) fingerprint() (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%#v", o)
	for _, file := range []struct{ option, path string }{{"tls_ca", o.CA}, {"tls_cert", o.Cert}, {"tls_key", o.Key}} {
		if file.path == "" {
			continue
		}
		text, err := os.ReadFile(file.path)
		if err != nil {
			return "", fmt.Errorf("redis: %s: %w", file.option, err)
		}
		one := sha256.Sum256(text)
		sum.Write(one[:])
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// resolve returns the options with placeholders replaced and defaults filled
// in.
func (m *Module) resolve() (Options, error) {
	o := Options{
		MasterName: m.MasterName, Cluster: m.Cluster, Username: m.Username, Password: m.Password,
		SentinelUsername: m.SentinelUsername, SentinelPassword: m.SentinelPassword, Database: m.Database,
		Prefix: m.Prefix, Timeout: time.Duration(m.Timeout), CA: m.TLSCA, Cert: m.TLSCert, Key: m.TLSKey, ServerName: m.TLSServerName,
	}
	replacer := caddy.NewReplacer()
	for name, text := range map[string]*string{
		"master_name": &o.MasterName, "username": &o.Username, "password": &o.Password,
		"sentinel_username": &o.SentinelUsername, "sentinel_password": &o.SentinelPassword, "prefix": &o.Prefix,
		"tls_ca": &o.CA, "tls_cert": &o.Cert, "tls_key": &o.Key, "tls_server_name": &o.ServerName,
	} {
		if err := replace(replacer, name, text); err != nil {
			return Options{}, err
		}
	}
	o.TLS = m.TLS || o.CA != "" || o.Cert != "" || o.ServerName != ""
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	for _, addr := range m.Addresses {
		if err := replace(replacer, "addresses", &addr); err != nil {
			return Options{}, err
		}
		if strings.Contains(addr, "://") {
			if len(m.Addresses) > 1 {
				return Options{}, errors.New("redis: a URL stands alone; several addresses are host:port")
			}
			if err := takeURL(&o, addr); err != nil {
				return Options{}, err
			}
			break
		}
		o.Addresses = append(o.Addresses, addr)
	}
	return o, o.check()
}

// replace replaces the placeholders of an option. What they stand for is shown
// nowhere, and what ends a line in a file is no part of it.
func replace(replacer *caddy.Replacer, name string, text *string) error {
	replaced, err := replacer.ReplaceOrErr(*text, true, true)
	if err != nil {
		return fmt.Errorf("redis: %s: %w", name, err)
	}
	*text = strings.TrimRight(replaced, "\r\n")
	return nil
}

// takeURL takes over what a URL says. Errors do not show it: it may have a
// password in it.
func takeURL(o *Options, text string) error {
	parsed, err := url.Parse(text)
	if err != nil || (parsed.Scheme != "redis" && parsed.Scheme != "rediss") || parsed.RawQuery != "" {
		return errors.New("redis: an address is no URL like rediss://user@redis.example.com:6379/0, without parameters")
	}
	of, err := redis.ParseURL(text)
	if err != nil {
		return errors.New("redis: the URL of the address has no good host, port or database")
	}
	if (of.Username != "" && o.Username != "") || (of.Password != "" && o.Password != "") || (of.DB != 0 && o.Database != 0) {
		return errors.New("redis: username, password or database are given twice: in the URL and beside it")
	}
	o.Addresses = []string{of.Addr}
	o.Username += of.Username
	o.Password += of.Password
	o.Database += of.DB
	o.TLS = o.TLS || of.TLSConfig != nil
	return nil
}

// Cleanup releases what Provision acquired; Caddy calls it also when Provision
// failed. The last one to release a store closes its connections.
func (m *Module) Cleanup() error {
	if m.key == "" {
		return nil
	}
	key := m.key
	m.key = ""
	_, err := pool.Delete(key)
	return err
}

// Interface guards.
var (
	_ caddy.Module       = (*Module)(nil)
	_ caddy.Provisioner  = (*Module)(nil)
	_ caddy.CleanerUpper = (*Module)(nil)
	_ caddy.Destructor   = shared{}
	_ store.Store        = (*Module)(nil)
)
