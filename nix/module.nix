# A NixOS host that upgrades itself, and puts itself back when the upgrade goes wrong.
# `flake` is that of backstop; without it, `package` must be given.
flake:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib)
    mkDefault
    mkEnableOption
    mkIf
    mkOption
    types
    ;

  cfg = config.services.backstop;
  auto = cfg.autoUpgrade;
  toml = pkgs.formats.toml { };

  window = "${auto.rebootWindow.lower}-${auto.rebootWindow.upper}";
  without = lib.filterAttrs (_: value: value != null);

  # What the options say, in the words of backstop.toml.
  policy = {
    upgrade = without {
      flake = auto.flake;
      path = auto.path;
      flags = if auto.flags == [ ] then null else auto.flags;
      kind = if auto.operation == "boot" then "boot" else "live";
      if_refused = if auto.allowReboot then "boot" else "stage";
      confirm = cfg.confirm.by;
      confirm_within = if cfg.confirm.by == "checks" then null else cfg.confirm.within;
    };
    reboot =
      if !auto.allowReboot then
        { when = "never"; }
      else if auto.rebootWindow == null then
        { when = "now"; }
      else
        { windows = [ window ]; };
  };

  # No upgrade may restart or stop what sees it through.
  leftAlone = {
    restartIfChanged = false;
    stopIfChanged = false;
    unitConfig.X-StopOnRemoval = false;
  };

  nixTools = [
    config.nix.package
    config.systemd.package
    pkgs.util-linux
  ];
in
{
  options.services.backstop = {
    enable = mkEnableOption "backstop, which tries upgrades and puts the host back when they go wrong";

    package = mkOption {
      type = types.package;
      default = flake.packages.${pkgs.stdenv.hostPlatform.system}.backstop;
      defaultText = lib.literalExpression "backstop.packages.\${system}.backstop";
      description = "The backstop to use.";
    };

    confirm = {
      by = mkOption {
        type = types.enum [
          "checks"
          "person"
          "deployer"
        ];
        default = "checks";
        description = "Who must agree that an upgrade is good, besides the checks.";
      };
      within = mkOption {
        type = types.str;
        default = "5m";
        description = "How long to wait for that, once the checks have passed.";
      };
    };

    checks = mkOption {
      type = types.attrsOf toml.type;
      default = { };
      example = lib.literalExpression ''
        { web.http.url = "http://localhost/health"; }
      '';
      description = "Health checks by name, as in {file}`/etc/backstop/checks.d/NAME.toml`.";
    };

    settings = mkOption {
      type = toml.type;
      default = { };
      description = "More for {file}`/etc/backstop/backstop.toml.d/50-settings.toml`.";
    };

    limits = mkOption {
      type = toml.type;
      default = { };
      example = {
        activation_timeout = "10m";
        signatures = 1;
      };
      description = "What goes into {file}`/etc/backstop/nix.toml`.";
    };

    panicTimeout = mkOption {
      type = types.nullOr types.int;
      default = 60;
      description = ''
        Seconds after which a kernel that panicked restarts, so that a boot trial ends. `null` leaves that as it is.
      '';
    };

    autoUpgrade = {
      enable = mkEnableOption "upgrades by a timer, in place of {option}`system.autoUpgrade`";

      flake = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "github:me/hosts#web";
        description = "The flake, and the host in it, that is followed.";
      };

      path = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/srv/releases/web";
        description = "A link to a system that is followed, where there is no flake.";
      };

      flags = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Further arguments of {command}`nix build`.";
      };

      operation = mkOption {
        type = types.enum [
          "switch"
          "boot"
        ];
        default = "switch";
        description = "Whether an upgrade is tried in the running system or by booting into it.";
      };

      dates = mkOption {
        type = types.str;
        default = "04:40";
        description = "When to look for upgrades, as in {manpage}`systemd.time(7)`.";
      };

      randomizedDelaySec = mkOption {
        type = types.str;
        default = "0";
        description = "A random delay before that, as in {manpage}`systemd.time(7)`.";
      };

      fixedRandomDelay = mkOption {
        type = types.bool;
        default = false;
        description = "Whether that delay is the same each time.";
      };

      persistent = mkOption {
        type = types.bool;
        default = true;
        description = "Whether to make up for a time at which the host was off.";
      };

      allowReboot = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether the host may reboot into an upgrade by itself. Without it, one that needs a reboot is tried at the next
          one that somebody asks for.
        '';
      };

      rebootWindow = mkOption {
        type = types.nullOr (
          types.submodule {
            options = {
              lower = mkOption {
                type = types.strMatching "[[:digit:]]{2}:[[:digit:]]{2}";
                example = "01:00";
                description = "When it begins.";
              };
              upper = mkOption {
                type = types.strMatching "[[:digit:]]{2}:[[:digit:]]{2}";
                example = "05:00";
                description = "When it ends.";
              };
            };
          }
        );
        default = null;
        description = "The hours in which the host may reboot into an upgrade.";
      };
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = auto.enable -> (auto.flake == null) != (auto.path == null);
        message = "services.backstop.autoUpgrade follows either a flake or a path";
      }
      {
        assertion = !(auto.enable && config.system.autoUpgrade.enable or false);
        message = "services.backstop.autoUpgrade is in place of system.autoUpgrade: enable one of them";
      }
    ];

    environment.systemPackages = [ cfg.package ];

    environment.etc = {
      "backstop/backstop.toml".source = toml.generate "backstop.toml" policy;
      "backstop/backstop.toml.d/50-settings.toml".source = toml.generate "settings.toml" cfg.settings;
      "backstop/nix.toml".source = toml.generate "nix.toml" cfg.limits;
    }
    // lib.mapAttrs' (
      name: check:
      lib.nameValuePair "backstop/checks.d/${name}.toml" { source = toml.generate "${name}.toml" check; }
    ) cfg.checks;

    boot.kernelParams = lib.optional (cfg.panicTimeout != null) "panic=${toString cfg.panicTimeout}";

    systemd.services = {
      # Early at boot: what an upgrade under way came to.
      backstop-settle = leftAlone // {
        description = "Settle an upgrade that was under way";
        wantedBy = [ "multi-user.target" ];
        after = [ "local-fs.target" ];
        before = [ "backstop-health.service" ];
        unitConfig = leftAlone.unitConfig // {
          DefaultDependencies = false;
          RequiresMountsFor = "/var/lib/backstop /boot";
        };
        conflicts = [ "shutdown.target" ];
        path = nixTools;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${lib.getExe cfg.package} settle";
          # It has set the deadline of the upgrade's own policy.
          ExecStartPost = "-${config.systemd.package}/bin/systemctl --no-block stop backstop-deadline.timer";
          TimeoutStartSec = 90;
        };
      };

      # At the end of boot: the checks of a version on trial.
      backstop-health = leftAlone // {
        description = "Check the health of this boot";
        wantedBy = [ "multi-user.target" ];
        after = [
          "multi-user.target"
          "backstop-settle.service"
        ];
        before = [ "shutdown.target" ];
        conflicts = [ "shutdown.target" ];
        # After the target that wants it: without default dependencies that is no cycle.
        unitConfig = leftAlone.unitConfig // {
          DefaultDependencies = false;
        };
        path = nixTools;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${lib.getExe cfg.package} health";
          TimeoutStartSec = "infinity";
        };
      };

      # A boot that is not the default's is a trial, or somebody's choice at the menu.
      backstop-deadline = leftAlone // {
        description = "Reboot, because the boot of an upgrade on trial is stuck";
        unitConfig = leftAlone.unitConfig // {
          DefaultDependencies = false;
        };
        path = [
          pkgs.coreutils
          config.systemd.package
        ];
        script = ''
          # What was settled is not stuck.
          systemctl is-active --quiet backstop-settle.service && exit 0
          booted=$(readlink -f /run/booted-system)
          current=$(readlink -f /run/current-system)
          default=$(readlink -f /nix/var/nix/profiles/system)
          if [ "$booted" = "$current" ] && [ "$booted" != "$default" ]; then
            systemctl reboot --force
          fi
        '';
        serviceConfig.Type = "oneshot";
      };
    }
    // lib.optionalAttrs auto.enable {
      backstop-upgrade = leftAlone // {
        description = "Upgrade this host, and put it back if that goes wrong";
        wants = [ "network-online.target" ];
        after = [
          "network-online.target"
          "backstop-settle.service"
        ];
        path = nixTools ++ [
          pkgs.gitMinimal
          config.programs.ssh.package
        ];
        environment = config.nix.envVars // {
          HOME = "/root";
        };
        serviceConfig = {
          Type = "oneshot";
          ExecStart = "${lib.getExe cfg.package} upgrade --unattended";
          Nice = 5;
          IOSchedulingClass = "idle";
        };
      };
    };

    systemd.timers = {
      backstop-deadline = {
        description = "Limit the time until an upgrade on trial is settled";
        wantedBy = [ "sysinit.target" ];
        before = [ "shutdown.target" ];
        conflicts = [ "shutdown.target" ];
        unitConfig = {
          DefaultDependencies = false;
          X-OnlyManualStart = true;
        };
        timerConfig = {
          OnBootSec = mkDefault "10min";
          AccuracySec = "1s";
        };
      };
    }
    // lib.optionalAttrs auto.enable {
      backstop-upgrade = {
        description = "Look for upgrades";
        wantedBy = [ "timers.target" ];
        timerConfig = {
          OnCalendar = auto.dates;
          RandomizedDelaySec = auto.randomizedDelaySec;
          FixedRandomDelay = auto.fixedRandomDelay;
          Persistent = auto.persistent;
        };
      };
    };
  };
}
