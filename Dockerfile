# `make image` builds the binaries before, on the machine that runs it: with the same
# flags and to the same bytes as those of a release, for either platform, and without
# pulling anything. An image holds one static binary and nothing else: no shell, no
# libraries, no certificates. The roots that the controller trusts are in the binary;
# those that are mounted at /etc/ssl/certs win.

FROM scratch AS simulator
ARG TARGETARCH
COPY bin/image/linux-${TARGETARCH}/regfish-simulator /regfish-simulator
USER 65532:65532
EXPOSE 8443
ENTRYPOINT ["/regfish-simulator"]

FROM scratch AS controller
ARG TARGETARCH
ARG VERSION=dev
LABEL org.opencontainers.image.title="regfish-issuer" \
      org.opencontainers.image.description="A cert-manager issuer for TLS certificates from regfish" \
      org.opencontainers.image.source="https://github.com/regfish/regfish-issuer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY bin/image/linux-${TARGETARCH}/regfish-issuer /regfish-issuer
USER 65532:65532
EXPOSE 8081 8443
ENTRYPOINT ["/regfish-issuer"]
