# Packages in a stage of their own: the image of the server gets no npm cache and no development dependencies.
FROM node:24-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# Nothing of what serves needs its install script.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && npm cache clean --force

FROM node:24-slim
ENV NODE_ENV=production WEIR_DATA_DIR=/data
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY core ./core
COPY config ./config
COPY proxy ./proxy
COPY billing ./billing
COPY web ./web
COPY src ./src
# The sources belong to root and are read-only to the server; it writes to its data directory alone.
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8787 8788
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8787/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
CMD ["node", "src/cli.ts", "serve"]
