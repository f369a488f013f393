#!/usr/bin/env bash
# Noisy CIFAR-10 and CIFAR-100 on one GPU, after `make run` once: the methods of the published tables, ResNet-32, with
# 20, 40 and 80 % symmetric and 40 % asymmetric noise, 1,000 trusted samples, the whole data set in the GPU's memory.
#
#     benchmarks/noisy_cifar.sh                                # torchvision's copies in data/, downloaded at need
#     CIFAR10=FOLDER CIFAR100= benchmarks/noisy_cifar.sh       # CIFAR-10 alone, from a folder of Parquet
#     DEVICE=cpu benchmarks/noisy_cifar.sh --epochs 1 --train-size 1000 --test-size 500 --noises symmetric:0.4 --seeds 1
#
# Further arguments go to `ray-mentor compare`: --epochs (120), --seeds (3), --noises, --methods, ... A table of each
# data set lies in runs/noisy-cifar10/ and runs/noisy-cifar100/ (compare.md, compare.csv, compare.html); the column
# seconds_ratio is the overhead over plain training, so runs go one by one. Broken off, it goes on with --resume.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
device=(--gpu --hold-on-device --channels-last)
if [ "${DEVICE:-cuda}" = cpu ]; then
    device=()
else
    $bin/python -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "PyTorch sees no GPU here; DEVICE=cpu tries it without")'
fi
for data in "${CIFAR10-cifar10}" "${CIFAR100-cifar100}"; do
    [ -n "$data" ] || continue
    name=cifar100
    [ "$data" = "${CIFAR10-cifar10}" ] && name=cifar10
    $bin/ray-mentor compare --preset seed --data "$data" --download --augment flip-shift --meta-size 1000 \
        --noises symmetric:0.2,symmetric:0.4,symmetric:0.8,asymmetric:0.4 --student resnet32 --learning-rate 0.1 \
        --no-nesterov --batch-size 128 --epochs 120 --validation-share 0 --seeds 3 --concurrent 1 --workers 0 \
        --run-name "noisy-$name" "${device[@]}" "$@"
done
