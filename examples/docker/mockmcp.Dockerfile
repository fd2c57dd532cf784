# The example MCP server, alone in a small image. The build context is the root
# of the repository; compose.yaml sets it.
ARG GO_VERSION=1.26
ARG ALPINE_VERSION=3.23

FROM golang:${GO_VERSION}-alpine${ALPINE_VERSION} AS builder
ENV CGO_ENABLED=0
WORKDIR /src
# The server imports nothing of the gateway, so its folder is all it takes.
COPY go.mod go.sum ./
COPY mockmcp ./mockmcp
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -ldflags="-s -w" -o /out/mockmcp ./mockmcp/cmd/mockmcp

# Alpine and not an empty base: the health check needs a client that speaks HTTP.
FROM alpine:${ALPINE_VERSION}
COPY --from=builder /out/mockmcp /usr/bin/mockmcp
# It writes nothing, so it needs a number and no home.
USER 10002:10002
EXPOSE 9000
ENTRYPOINT ["/usr/bin/mockmcp"]
CMD ["--host", "0.0.0.0", "--port", "9000"]
