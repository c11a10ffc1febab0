#!/usr/bin/env bash
# One request to Volley over NATS with nothing but bash: the protocol is text, the messages are plain JSON.
#
#   docs/examples/nats-request.sh HOST:PORT TOKEN SUBJECT JSON
#
# Prints the reply. Exit code: 0 with a reply, 1 with an error reply, 2 when there is none within 10 s.
set -euo pipefail
trap '' PIPE # a server that refuses the token hangs up while we write; what it said is still to be read

server=$1 token=$2 subject=$3 body=$4
inbox="_INBOX.$$.$RANDOM$RANDOM"

exec 3<>"/dev/tcp/${server%:*}/${server##*:}"
{
  printf 'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"auth_token":"%s"}\r\n' "$token"
  printf 'SUB %s 1\r\n' "$inbox"
  printf 'PUB %s %s %s\r\n%s\r\n' "$subject" "$inbox" "$(LC_ALL=C; printf %s "${#body}")" "$body"
} >&3 2>/dev/null || true

while IFS= read -r -t 10 line <&3; do
  line=${line%$'\r'}
  case $line in
    PING) printf 'PONG\r\n' >&3 ;;
    -ERR*) echo "nats-server: $line" >&2; exit 2 ;;
    HMSG*) echo "nobody answers to $subject" >&2; exit 2 ;;
    MSG*)
      IFS= read -r -t 10 -N "${line##* }" reply <&3
      printf '%s\n' "$reply"
      [[ $reply == '{"error":'* ]] && exit 1
      exit 0
      ;;
  esac
done
echo "no reply within 10 s" >&2
exit 2
