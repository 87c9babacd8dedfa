# Completion of podctl's commands, options and pods, for bash.

_podctl_pods() {
    podctl "${_podctl_namespace[@]}" get pods -o name 2>/dev/null | sed 's,^pod/,,'
}

_podctl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command="" words="" i
    local -a _podctl_namespace=()
    local common="--namespace --output --help"

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --) return ;; # a command in a container
        -n | --namespace) _podctl_namespace=(-n "${COMP_WORDS[++i]}") ;;
        -o | --output | --socket) ((i++)) ;;
        -*) ;;
        *) [ -n "$command" ] || command=${COMP_WORDS[i]} ;;
        esac
    done

    case $previous in
    -o | --output)
        mapfile -t COMPREPLY < <(compgen -W "table wide name json yaml" -- "$current")
        return
        ;;
    -f | --filename)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    esac

    case $command in
    "") words="apply attach cp delete describe diff debug events exec get image images logs port-forward
        probe pull restart system top version why --socket $common" ;;
    apply) words="-f --filename $common" ;;
    diff) words="-f --filename $common" ;;
    get) words="pods configmaps secrets namespaces --selector --watch --no-headers $(_podctl_pods) $common" ;;
    delete) words="pod configmap secret namespace --filename --grace-period --no-wait $(_podctl_pods) $common" ;;
    describe | why | restart) words="$(_podctl_pods) $common" ;;
    debug) words="--container --image --target --stdin --tty $(_podctl_pods) $common" ;;
    events) words="--watch $(_podctl_pods) $common" ;;
    logs) words="--container --all-containers --follow --previous --prefix --since --tail
        --timestamps $(_podctl_pods) $common" ;;
    top) words="--containers $(_podctl_pods) $common" ;;
    exec) words="--container --stdin --tty --timeout $(_podctl_pods) $common" ;;
    attach) words="--container --stdin --tty $(_podctl_pods) $common" ;;
    port-forward) words="--address $(_podctl_pods) $common" ;;
    cp) words="--container $common" ;;
    probe) words="startup readiness liveness http tcp exec --container --id --timeout
        $(_podctl_pods) $common" ;;
    pull) words="--user $common" ;;
    image) words="import rm --name $common" ;;
    system) words="stop reset --exit $common" ;;
    version) words="--client $common" ;;
    *) words=$common ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    case $command in
    cp | image) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current") ;;
    esac
}

complete -F _podctl podctl
