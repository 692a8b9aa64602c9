# Makes every stream and consumer that is described here, and changes those that differ; whatever else there is stays.
# It ends at the first failure, and the Job tries again: NATS may still be on its way up.
set -eu
cd "$(dirname "$0")"

for file in stream-*.json; do
  stream=${file#stream-}
  stream=${stream%.json}
  if nats stream info "$stream" >/dev/null; then
    nats stream edit "$stream" --config "$file" --force
  else
    nats stream add "$stream" --config "$file"
  fi
done

for file in consumer-*.json; do
  [ -e "$file" ] || continue
  name=${file#consumer-}
  name=${name%.json}
  stream=${name%%.*}
  consumer=${name#*.}
  if nats consumer info "$stream" "$consumer" >/dev/null; then
    nats consumer edit "$stream" "$consumer" --config "$file" --force
  else
    nats consumer add "$stream" "$consumer" --config "$file"
  fi
done
