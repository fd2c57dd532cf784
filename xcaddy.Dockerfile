# The gateway as a container image, built by xcaddy from this checkout:
#
#   docker build -f xcaddy.Dockerfile -t caddy-mcp-auth .
#   docker run -p 8080:8080 -v caddy-data:/data -v ./Caddyfile:/etc/caddy/Caddyfile:ro caddy-mcp-auth
#
# examples/docker has a whole stack. caddymodule/standard/xcaddy_test.go keeps
# the versions and paths below in step with go.mod.
ARG GO_VERSION=1.26
ARG ALPINE_VERSION=3.23

FROM golang:${GO_VERSION}-alpine${ALPINE_VERSION} AS builder

ARG XCADDY_VERSION=v0.4.5
ARG CADDY_VERSION=v2.11.9

# The module is taken from this checkout. Before it looks there, the go command
# asks where the module could come from: GOPRIVATE keeps it from asking a module
# proxy, GOVCS from cloning it. git is what it asks with for everything else.
ENV CGO_ENABLED=0 \
    GOPRIVATE=github.com/caddy-mcp/caddy-mcp-auth \
    GOVCS=github.com/caddy-mcp/caddy-mcp-auth:off,public:git
RUN apk add --no-cache git

RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    go install github.com/caddyserver/xcaddy/cmd/xcaddy@${XCADDY_VERSION}

WORKDIR /src
COPY . .
# More plug-ins? Add a --with for each. The last line proves that ours is in.
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    xcaddy build ${CADDY_VERSION} \
        --output /out/caddy \
        --with github.com/caddy-mcp/caddy-mcp-auth/caddymodule/standard \
        --replace github.com/caddy-mcp/caddy-mcp-auth=. \
    && /out/caddy list-modules | grep -qx http.handlers.mcp_auth


# Alpine and not an empty base: the health check needs a client that speaks HTTP.
FROM alpine:${ALPINE_VERSION}

LABEL org.opencontainers.image.title="caddy-mcp-auth" \
      org.opencontainers.image.description="OAuth 2.1 gateway for MCP servers: Caddy with the mcp_auth module" \
      org.opencontainers.image.source="https://github.com/caddy-mcp/caddy-mcp-auth" \
      org.opencontainers.image.licenses="MIT"

# ca-certificates: ACME, sign-in at an identity provider, upstreams over TLS.
# The folders get their owner here because a named volume takes over the owner
# of the folder it is mounted on, once, when it is empty. 0700: /data holds the
# key ring and the private keys of certificates.
RUN apk add --no-cache ca-certificates \
    && addgroup -S -g 10001 caddy \
    && adduser -S -D -H -u 10001 -G caddy -h /data -s /sbin/nologin caddy \
    && install -d -o caddy -g caddy -m 0700 /data /config \
    && install -d /etc/caddy

# No cap_net_bind_service on the file: with `cap_drop: ALL` or
# `no-new-privileges` the kernel would refuse to start such a binary at all.
# Docker lets every user bind ports below 1024 in a container of its own
# network; where that is not so (host network, some Kubernetes), publish higher
# ports with http_port and https_port, or grant the capability there.
COPY --from=builder /out/caddy /usr/bin/caddy

# Caddy keeps certificates below XDG_DATA_HOME and the last configuration below
# XDG_CONFIG_HOME. Where the issuer is not on localhost:8080, set HEALTH_URL to
# the health page under an address that the container itself can reach.
ENV XDG_DATA_HOME=/data \
    XDG_CONFIG_HOME=/config \
    HEALTH_URL=http://localhost:8080/oauth/health

VOLUME ["/data", "/config"]

# HTTP, HTTPS, HTTP/3, and the port of development.
EXPOSE 80 443 443/udp 8080

# By number, so that an orchestrator can see that it is not root.
USER 10001:10001

# 503, while the store is out, counts as unhealthy too. The start period covers
# the first certificate.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD wget -q -T 4 -O /dev/null "$HEALTH_URL" || exit 1

# There is no configuration in the image: a gateway that nobody configured must
# not start.
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
