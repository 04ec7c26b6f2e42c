#!/bin/sh
# Usage from each source that Weir takes. WEIR is the billing API, TOKEN a token of role ingest (or the admin's).
set -eu
WEIR=${WEIR:-http://localhost:8788}
TOKEN=${TOKEN:?set TOKEN to a token of role ingest}
NOW=$(date -u +%Y-%m-%dT%H:%M:%SZ)
NANOS=$(date +%s)000000000
send() { path=$1; shift; echo "POST $path"; curl -sS --fail-with-body -H "authorization: Bearer $TOKEN" "$@" "$WEIR$path"; echo; }

# A CloudEvent; twice, and counted once.
EVENT='{"specversion":"1.0","id":"ticket-4711","source":"/desk","type":"ticket.resolved","subject":"demo","time":"'$NOW'","data":{"properties":{"minutes":12.5,"team":"eu"}}}'
send /v1/events -H 'content-type: application/cloudevents+json' -d "$EVENT"
send /v1/events -H 'content-type: application/cloudevents+json' -d "$EVENT"

# Binary mode.
send /v1/events -H 'ce-specversion: 1.0' -H 'ce-id: ticket-4712' -H 'ce-source: /desk' -H 'ce-type: ticket.resolved' \
  -H 'ce-subject: demo' -H "ce-time: $NOW" -H 'content-type: application/json' -d '{"properties":{"minutes":3}}'

# NDJSON, and CSV, whose cells are text.
printf '%s\n' "$EVENT" "$EVENT" | send /v1/events -H 'content-type: application/x-ndjson' --data-binary @-
printf 'id,source,type,subject,time,data.model,data.quantities.output_tokens\ncsv-1,/import,weir.usage.v1,demo,%s,gpt-4o-mini,250\n' "$NOW" |
  send /v1/events -H 'content-type: text/csv' --data-binary @-

# Figures without an envelope.
send /v1/events/completions -H 'content-type: application/json' \
  -d '{"id":"call-1","customer":"demo","provider":"openai","model":"gpt-4o-mini","input_tokens":1200,"output_tokens":250,"time":"'$NOW'"}'
send /v1/events/images -H 'content-type: application/json' -d '{"id":"image-1","customer":"demo","model":"dall-e-3","images":2,"time":"'$NOW'"}'
send /v1/events/audio -H 'content-type: application/json' -d '{"id":"audio-1","customer":"demo","model":"whisper-1","audio_seconds":"12.345","time":"'$NOW'"}'
send /v1/events/video -H 'content-type: application/json' -d '{"id":"video-1","customer":"demo","model":"sora-2","video_seconds":8,"time":"'$NOW'"}'
send /v1/events/tool_calls -H 'content-type: application/json' -d '{"id":"tool-1","customer":"demo","tool":"search","time":"'$NOW'"}'
send /v1/events/custom -H 'content-type: application/json' \
  -d '{"id":"gpu-1","customer":"demo","type":"gpu.used","properties":{"seconds":"93.75","gpu":"a100"},"time":"'$NOW'"}'

# OpenTelemetry: what an exporter with OTEL_EXPORTER_OTLP_ENDPOINT=$WEIR/v1/otlp sends.
send /v1/otlp/v1/traces -H 'content-type: application/json' -d '{"resourceSpans":[{"resource":{"attributes":[
  {"key":"service.name","value":{"stringValue":"shop"}},{"key":"weir.customer","value":{"stringValue":"demo"}}]},
  "scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"chat gpt-4o-mini",
  "startTimeUnixNano":"'$NANOS'","endTimeUnixNano":"'$NANOS'","attributes":[
  {"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o-mini"}},
  {"key":"gen_ai.usage.input_tokens","value":{"intValue":"1200"}},{"key":"gen_ai.usage.output_tokens","value":{"intValue":"250"}}]}]}]}]}'

# A format of one's own (the template wants a token of role ops or admin).
if [ -n "${ADMIN_TOKEN:-}" ]; then
  curl -sS --fail-with-body -X PUT -H "authorization: Bearer $ADMIN_TOKEN" -H 'content-type: application/json' "$WEIR/v1/templates/shop-log" -d '{
    "name":"Log of the shop","schema":{"type":"object","required":["uuid","usage"]},
    "mapping":{"id":"/uuid","customer":"/org","time":{"pointer":"/ts","unix":"s"},"model":"/model",
               "quantities":{"input_tokens":"/usage/in","output_tokens":"/usage/out","audio_seconds":{"pointer":"/usage/ms","times":"0.001"}}}}'
  echo
  send /v1/templates/shop-log/events -H 'content-type: application/json' \
    -d '{"uuid":"row-1","org":"demo","ts":'"$(date +%s)"',"model":"m1","usage":{"in":5,"out":7}}'
fi
