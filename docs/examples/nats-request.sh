#!/usr/bin/env bash
# One request to Volley over NATS with nothing but bash, coreutils and openssl: the protocol is text, the messages are plain JSON.
#
#   docs/examples/nats-request.sh HOST:PORT KEY.nk SUBJECT JSON
#
# KEY.nk is the seed of an nkey, with KEY.pub beside it, such as keys/operator.nk in the data folder of `volley up`. Signs the
# server's challenge with it; the seed itself is never sent.
# Prints the reply. Exit code: 0 with a reply, 1 with an error reply, 2 when there is none within 10 s.
set -euo pipefail
trap '' PIPE # a server that refuses the key hangs up while we write; what it said is still to be read

server=$1 key=$2 subject=$3 body=$4
name=$(basename "$key" .nk)
inbox="_INBOX.$name.$$.$RANDOM$RANDOM" # where nobody else may listen

exec 3<>"/dev/tcp/${server%:*}/${server##*:}"
IFS= read -r -t 10 info <&3
[[ $info =~ \"nonce\":\"([^\"]+)\" ]] || { echo "$server asks for no key, or is no nats-server" >&2; exit 2; }

umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf %s "${BASH_REMATCH[1]}" >"$work/nonce"
# A seed is two bytes of prefix, 32 of the Ed25519 key and two of checksum, in base 32; before the key goes the head of PKCS #8.
{
  printf '\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20'
  printf '%s======' "$(<"$key")" | base32 -d | tail -c +3 | head -c 32
} >"$work/key.der"
signature=$(openssl pkeyutl -sign -rawin -keyform DER -inkey "$work/key.der" -in "$work/nonce" | base64 -w 0 | tr '+/' '-_' | tr -d =)

{
  printf 'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"nkey":"%s","sig":"%s"}\r\n' "$(<"${key%.nk}.pub")" "$signature"
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
