#!/usr/bin/env bash
# Makes every run of this set: about half an hour on two cores. Finished runs are skipped, so an
# interrupted call goes on where it stopped. From the top of the repository:
#   PYTHON=.venv/bin/python bash data/proxy_nano/make.sh
set -euo pipefail
python=${PYTHON:-python}

run() { # NAME SPEC
  if [ -e "data/proxy_nano/$1.csv" ]; then
    echo "$1: there already"
  else
    "$python" cli.py proxy train --size nano --corpus stdlib --seed 0 --license MIT \
      --out data/proxy_nano --name "$1" --schedule "$2"
  fi
}

run constant_4000 "constant:peak=4.5e-4,steps=4000,warmup=100"
run cosine_4000 "cosine:peak=4.5e-4,end=4.5e-5,steps=4000,warmup=100"
run drop_to_0.1_4000 "multistage:peak=4.5e-4,at=2400,to=4.5e-5,steps=4000,warmup=100"
run drop_to_0.3_2000 "multistage:peak=4.5e-4,at=1200,to=1.35e-4,steps=2000,warmup=100"
run wsd_linear_0.2_4000 "wsd:peak=4.5e-4,end=0,steps=4000,warmup=100,decay=linear,decay_fraction=0.2"
run cosine_2000 "cosine:peak=4.5e-4,end=4.5e-5,steps=2000,warmup=100"
run wsd_power_0.2_2000 "wsd:peak=4.5e-4,end=0,steps=2000,warmup=100,decay=power,power=1.5,decay_fraction=0.2"
run linear_2000 "linear:peak=4.5e-4,end=0,steps=2000,warmup=100"
run two_drops_2000 "multistage:peak=4.5e-4,at=1600/1800,to=1.42e-4/4.5e-5,steps=2000,warmup=100"
run rewarm_2000 "multistage:peak=4.5e-4,at=800/1200,to=9e-5/4.5e-4,steps=2000,warmup=100"
run wsd_1sqrt_0.2_2000 "wsd:peak=4.5e-4,end=0,steps=2000,warmup=100,decay=1-sqrt,decay_fraction=0.2"
run wsd_exponential_0.3_2000 "wsd:peak=4.5e-4,end=2.25e-5,steps=2000,warmup=100,decay=exponential,decay_fraction=0.3"
