# Caddy with the assistant. "docker build ." needs only this folder.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY cmd/xbuild/go.mod cmd/xbuild/go.sum cmd/xbuild/
RUN go mod download && cd cmd/xbuild && go mod download
COPY . .
RUN make build

FROM debian:bookworm-slim
RUN apt-get update \
	&& apt-get install --yes --no-install-recommends ca-certificates \
	&& rm -rf /var/lib/apt/lists/* \
	&& useradd --system --home-dir /data --shell /usr/sbin/nologin caddy \
	&& install --directory --owner caddy --group caddy /data /config
COPY --from=build /src/caddy /usr/bin/caddy
COPY docker/Caddyfile /etc/caddy/Caddyfile
ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config
USER caddy
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s CMD ["/usr/bin/caddy", "assistant", "status"]
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]
